"""FUTURERELEASE (RFC 4865): messages that are held until a time. What EHLO says of it, and the two parameters of MAIL.

Pure: the time is passed in, in epoch seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["Hold", "HoldLimit", "date_time", "extension", "parse_hold"]

_INTERVAL = re.compile(r"[1-9][0-9]{0,8}")  # RFC 4865 §3: future-release-integer
# RFC 3339 §5.6, in UTC (RFC 4865 §3). A fraction finer than a microsecond is cut.
_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|[+-]00:00)"
)
#: A client that asks for "now" must not fail because its clock, or the network, is a little behind.
_LATE = 60.0


@dataclass(frozen=True, slots=True)
class HoldLimit:
    """What the server holds: `longest` seconds from `now` on."""

    now: float
    longest: int


@dataclass(frozen=True, slots=True)
class Hold:
    """What a client asked for: the epoch second of the release, and its words for a report (RFC 4865 §5.1.2)."""

    until: float
    request: str


def extension(limit: HoldLimit) -> str:
    """The line of EHLO (RFC 4865 §3)."""
    return f"FUTURERELEASE {limit.longest} {date_time(limit.now + limit.longest)}"


def parse_hold(name: str, value: str | None, limit: HoldLimit) -> Hold:
    """The parameter HOLDFOR or HOLDUNTIL. Raises ValueError with words for the client (RFC 4865 §4.2)."""
    if name == "HOLDFOR":
        if value is None or not _INTERVAL.fullmatch(value):
            raise ValueError("HOLDFOR is a number of seconds from 1 to 999999999")
        if int(value) > limit.longest:
            raise ValueError(f"HOLDFOR is at most {limit.longest} seconds")
        return Hold(limit.now + int(value), f"for;{value}")
    moment = _moment(value or "")
    if moment < limit.now - _LATE:
        raise ValueError("HOLDUNTIL is a time in the past")
    if moment > limit.now + limit.longest:
        raise ValueError(f"HOLDUNTIL is at most {date_time(limit.now + limit.longest)}")
    return Hold(moment, f"until;{value}")


def _moment(value: str) -> float:
    """Epoch seconds. Raises ValueError."""
    match = _DATE_TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError(value)
        year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
        # RFC 3339 §5.7: a leap second is written as 60; to us it is the second after.
        leap = second == 60
        moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
        fraction = int(((match[7] or "") + "000000")[:6])
        return (moment + timedelta(seconds=leap, microseconds=fraction)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("HOLDUNTIL is a date and time in UTC: 2026-12-24T18:00:00Z") from None


def date_time(epoch: float) -> str:
    """As HOLDUNTIL has it."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
