"""What somebody looks for, as a condition for SQLite. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailserver import api
from mailserver.plugins.history.rows import EVENTS

__all__ = ["condition"]

_LONGEST = 1000


def condition(arguments: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """WHERE and its values, from `from`, `to`, `destination` (an address, a domain, or a pattern with `*` and `?`),
    `status` (one of EVENTS), `since`, `until` (epoch seconds), `id` (queue id or Message-ID). Raises InvalidInput."""
    terms: list[str] = []
    values: list[Any] = []
    sender = _text(arguments, "from")
    if sender in ("<>", "-"):
        terms.append("m.sender = ''")
    elif sender:
        _pattern("m.sender", _address(sender), terms, values)
    if recipient := _text(arguments, "to"):
        _pattern("e.recipient", _address(recipient), terms, values)
    if destination := _text(arguments, "destination"):
        _pattern("e.destination", destination, terms, values)
    if status := _text(arguments, "status"):
        if status not in EVENTS:
            raise api.InvalidInput(f"the status is one of {', '.join(EVENTS)}")
        terms.append("e.status = ?")
        values.append(status)
    for name, sign in (("since", ">="), ("until", "<")):
        moment = arguments.get(name)
        if moment is not None:
            if isinstance(moment, bool) or not isinstance(moment, int | float):
                raise api.InvalidInput(f"{name} is a time in seconds")
            terms.append(f"e.at {sign} ?")
            values.append(float(moment))
    if wanted := _text(arguments, "id").strip("<>"):
        column = "m.message_id" if "@" in wanted else "e.queue_id"
        terms.append(f"{column} = ?")
        values.append(wanted)
    return ("WHERE " + " AND ".join(terms) if terms else "", values)


def _address(text: str) -> str:
    """What stands for an address: one, a pattern, or a domain for all its addresses."""
    if "@" in text or "*" in text or "?" in text:
        return f"*{text}" if text.startswith("@") else text
    return f"*@{text}"


def _pattern(column: str, pattern: str, terms: list[str], values: list[Any]) -> None:
    """Both compare without regard to case: the columns are so made, and LIKE is so (for ASCII)."""
    if "*" not in pattern and "?" not in pattern:
        terms.append(f"{column} = ?")
        values.append(pattern)
        return
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    terms.append(f"{column} LIKE ? ESCAPE '\\'")
    values.append(escaped.replace("*", "%").replace("?", "_"))


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise api.InvalidInput(f"{name} must be text of at most {_LONGEST} characters")
    return value
