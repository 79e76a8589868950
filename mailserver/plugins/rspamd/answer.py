"""What Rspamd's JSON says, read without believing anything about its form; nothing here raises but BadAnswer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailserver import api

__all__ = ["BadAnswer", "RspamdAnswer", "header_changes", "read_answer"]

_MOST_SYMBOLS = 12
_MOST_CHANGES = 100


class BadAnswer(Exception):
    """It is no result of a check."""


@dataclass(frozen=True, slots=True)
class RspamdAnswer:
    """`symbols`: name, score, words; the weightiest first. `message` is what the client is to be told, `subject` what
    is to stand there instead; "" for none. `milter`: what it wants changed."""

    action: str
    score: float
    symbols: tuple[tuple[str, float, str], ...]
    message: str
    subject: str
    milter: Mapping[str, Any]


def read_answer(body: bytes) -> RspamdAnswer:
    """Raises BadAnswer."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("it is not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("action"), str):
        error = found.get("error") if isinstance(found, dict) else None
        raise BadAnswer(f"it has no action{': ' + _line(error) if isinstance(error, str) else ''}")
    symbols = []
    for name, symbol in _table(found.get("symbols")).items():
        symbol = _table(symbol)
        score = _number(symbol.get("score"))
        if score:
            symbols.append((_line(name), score, _line(symbol.get("description"))))
    symbols.sort(key=lambda one: (-abs(one[1]), one[0]))
    messages = found.get("messages")
    return RspamdAnswer(
        action=found["action"], score=_number(found.get("score")), symbols=tuple(symbols[:_MOST_SYMBOLS]),
        message=_line(_table(messages).get("smtp_message")), subject=_line(found.get("subject")),
        milter=_table(found.get("milter")),
    )  # fmt: skip


def header_changes(answer: RspamdAnswer, head: bytes) -> tuple[api.HeaderChange, ...]:
    """Fields that it wants taken away, then those it wants added; and another subject, if that is its action."""
    changes = [*_removed(_table(answer.milter.get("remove_headers")), head)]
    for name, given in _table(answer.milter.get("add_headers")).items():
        for one in given if isinstance(given, list) else [given]:
            value = one.get("value") if isinstance(one, dict) else one
            position = one.get("order") if isinstance(one, dict) else None
            at = position if isinstance(position, int) and position >= 0 else None
            if value is not None:
                changes += _change(name, value, position=at)
    if answer.action == "rewrite subject" and answer.subject:
        changes += _change("Subject", answer.subject, occurrence=1)
    return tuple(changes[:_MOST_CHANGES])


def _removed(wanted: Mapping[str, Any], head: bytes) -> Iterator[api.HeaderChange]:
    """By number from the top, from the bottom below zero; 0 stands for all."""
    names = [name for name, _, _ in api.header_fields(head)]
    for name, numbers in wanted.items():
        there = names.count(name.lower().encode("utf-8", "replace"))
        for number in numbers if isinstance(numbers, list) else [numbers]:
            if not isinstance(number, int):
                continue
            if number == 0:
                for _ in range(min(there, _MOST_CHANGES)):
                    yield from _change(name, None, occurrence=1)
            elif (place := number if number > 0 else there + 1 + number) > 0:
                yield from _change(name, None, occurrence=place)


def _change(name: str, value: object, *, occurrence: int = 0, position: int | None = None) -> list[api.HeaderChange]:
    if value is not None and not isinstance(value, str):
        return []
    if value is not None:
        lines = [line.strip(" \t") for line in value.replace("\r", "").split("\n")]
        value = "\r\n\t".join(line for line in lines if line)
    try:
        return [api.HeaderChange(name, value, occurrence, position)]
    except ValueError:
        return []


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return max(-1000.0, min(1000.0, number)) if math.isfinite(number) else 0.0


def _line(value: object) -> str:
    """Words on one line, printable and short."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:300]).strip()
