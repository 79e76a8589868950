"""Identifiers."""

from __future__ import annotations

import hashlib
import itertools
import random
import secrets
import time
from typing import NewType

__all__ = ["AccountId", "QueueId", "SessionId", "derived_queue_id", "new_queue_id", "new_session_id"]

#: `localpart@domain` of an account as `EmailAddress.key` gives it; also its place: `<domain>/<localpart>` in data_dir.
AccountId = NewType("AccountId", str)
#: One message from its 250 on: in the log, in Received, in the queue.
QueueId = NewType("QueueId", str)
#: One connection, for the log.
SessionId = NewType("SessionId", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as it counts, no look-alikes
_sessions = itertools.count(secrets.randbits(20))
# An id must be unique, not secret: a generator of our own spares a system call per message.
_random = random.Random(secrets.randbits(128))  # noqa: S311


_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def _base32(number: int, digits: int) -> str:
    """`digits` digits, two at a time."""
    out = ""
    for shift in range(0, digits * 5, 10):
        out = _PAIRS[number >> shift & 1023] + out
    return out[-digits:]


def new_queue_id() -> QueueId:
    """16 characters: 9 of milliseconds (sorts by time until 3084), 7 of randomness (35 bits)."""
    return QueueId(_base32(time.time_ns() // 1_000_000, 9) + _base32(_random.getrandbits(35), 7))


def new_session_id() -> SessionId:
    """6 characters, different for any thousand million connections of one process."""
    return SessionId(_base32(next(_sessions) & 0x3FFFFFFF, 6))


def derived_queue_id(origin: QueueId, *facts: object) -> QueueId:
    """The id of a message that follows from another one: the same facts give the same id, also after a crash.

    It sorts beside the message that it follows from. The facts must not change between versions of the program.
    """
    digest = hashlib.sha256(repr((origin, *facts)).encode()).digest()
    return QueueId(origin[:9] + _base32(int.from_bytes(digest[:5], "big"), 7))
