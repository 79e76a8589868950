"""UIDONLY (RFC 9586): which commands speak of message numbers, and are refused to a client that gave them up."""

from __future__ import annotations

from mailserver.wire.imap.commands import Select
from mailserver.wire.imap.events import AppendStarted
from mailserver.wire.imap.search_keys import And, Fuzzy, Not, Or, Sequence
from mailserver.wire.imap.sequence_set import SavedResult

__all__ = ["UID_REQUIRED", "names_numbers"]

#: Text and code of the BAD that says so (RFC 9586 §3).
UID_REQUIRED = ("message numbers are not allowed once UIDONLY is enabled", "UIDREQUIRED")


def names_numbers(command: object) -> bool:
    """Whether the command, an argument of it or its answer has message sequence numbers (RFC 9586 §3.2, §3.5–3.8)."""
    if isinstance(command, AppendStarted):
        # REPLACE (RFC 8508) names what it replaces.
        return command.replaces is not None and not command.uid
    if getattr(command, "uid", True) is False:
        return True
    if isinstance(command, Select):
        return command.qresync is not None and command.qresync.match is not None
    inner = getattr(command, "search", None)
    if inner is not None:
        # SORT and THREAD; their searches say by which numbers messages are named.
        return names_numbers(inner)
    keys = [getattr(command, "key", None)]
    while keys:
        match keys.pop():
            case Sequence(messages=messages) if not isinstance(messages, SavedResult):
                return True
            case And(keys=some):
                keys.extend(some)
            case Or(left=left, right=right):
                keys.extend((left, right))
            case Not(key=key) | Fuzzy(key=key):
                keys.append(key)
    return False
