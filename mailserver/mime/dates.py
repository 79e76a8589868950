"""Date fields (RFC 5322 §3.3, obsolete forms of §4.3; ATTACKS D11).

What is no date is None, and the caller takes the time of arrival; a moment that no calendar has never raises.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["MailDate", "format_date", "parse_date", "sent_date", "zone_offset"]

_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# RFC 5322 §4.3: the zones that have a meaning, in hours; military letters and unknown names are -0000.
_ZONES = {b"est": -5, b"edt": -4, b"cst": -6, b"cdt": -5, b"mst": -7, b"mdt": -6, b"pst": -8, b"pdt": -7}
_LONGEST = 200
_COMMENT = re.compile(rb"\([^()]*+\)")
_DATE = re.compile(
    rb"\s*+(?:[a-z]++\s*+,?\s*+)?(\d{1,2})[\s-]\s*+([a-z]{3})[a-z]*+[\s-]\s*+(\d{2,4})\s++"
    rb"(\d{1,2})\s*+[:.]\s*+(\d{2})(?:\s*+[:.]\s*+(\d{2}))?+\s*+([+-]\d++|[a-z]++)?+",
    re.IGNORECASE,
)
# The day alone, for dates whose time makes no sense.
_DAY = re.compile(
    rb"\s*+(?:[a-z]++\s*+,?\s*+)?(\d{1,2})[\s-]\s*+([a-z]{3})[a-z]*+[\s-]\s*+(\d{2,4})(?!\d)", re.IGNORECASE
)
_EPOCH = datetime.date(1970, 1, 1).toordinal()


class MailDate(NamedTuple):
    """`epoch`: seconds since 1970 UTC. `day`: the date as the sender's calendar had it, which SENTBEFORE, SENTON and
    SENTSINCE compare (RFC 9051 §6.4.4: disregarding time and timezone)."""

    epoch: int
    day: datetime.date


def parse_date(raw: bytes) -> MailDate | None:
    """The date of a Date field's value, None when it is none."""
    match = _DATE.match(_without_comments(raw))
    if match is None:
        return None
    offset, seconds, day = _offset(match[7] or b""), _time(match), _day(match)
    if offset is None or seconds is None or day is None:
        return None
    return MailDate((day.toordinal() - _EPOCH) * 86_400 + seconds - offset, day)


def sent_date(raw: bytes) -> int | None:
    """The sent date of SORT and THREAD (RFC 5256 §2.2), seconds since 1970 UTC: a zone that is none is UTC, a time that
    is none is midnight. None without a day."""
    text = _without_comments(raw)
    match = _DATE.match(text)
    found = match or _DAY.match(text)
    day = None if found is None else _day(found)
    if day is None:
        return None
    midnight = (day.toordinal() - _EPOCH) * 86_400
    seconds = None if match is None else _time(match)
    if match is None or seconds is None:
        return midnight
    return midnight + seconds - (_offset(match[7] or b"") or 0)


def zone_offset(raw: bytes) -> int:
    """The zone of a Date field's value, in seconds east of UTC; 0 where it has none."""
    match = _DATE.match(_without_comments(raw))
    return 0 if match is None else _offset(match[7] or b"") or 0


def _without_comments(raw: bytes) -> bytes:
    text = raw[:_LONGEST]
    while b"(" in text:
        shorter = _COMMENT.sub(b" ", text)
        if shorter == text:
            break
        text = shorter
    return text


def _day(match: re.Match[bytes]) -> datetime.date | None:
    year, name = int(match[3]), match[2].lower()
    if len(match[3]) == 2:
        year += 2000 if year < 50 else 1900
    elif len(match[3]) == 3:
        year += 1900
    if name not in _MONTHS or year < 1900:
        return None
    try:
        return datetime.date(year, _MONTHS.index(name) + 1, int(match[1]))
    except ValueError:
        return None


def _time(match: re.Match[bytes]) -> int | None:
    """Seconds since midnight."""
    hour, minute, second = int(match[4]), int(match[5]), int(match[6] or b"0")
    # 60 is a leap second (RFC 5322 §3.3).
    if hour > 23 or minute > 59 or second > 60:
        return None
    return hour * 3_600 + minute * 60 + second


def _offset(zone: bytes) -> int | None:
    if zone[:1] in (b"+", b"-"):
        if len(zone) != 5:
            return None
        hours, minutes = int(zone[1:3]), int(zone[3:5])
        if hours > 23 or minutes > 59:
            return None
        return (hours * 3_600 + minutes * 60) * (-1 if zone[:1] == b"-" else 1)
    return _ZONES.get(zone.lower(), 0) * 3_600


def format_date(epoch: float) -> str:
    """A date-time for Date and Received, in UTC (RFC 5322 §3.3)."""
    # The zone is written +0000 and not -0000: the server's time is known to be UTC.
    return _format_second(int(epoch))


@lru_cache(maxsize=16)  # every message of a second has the same
def _format_second(epoch: int) -> str:
    moment = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
    day, month = _DAY_NAMES[moment.weekday()], _MONTH_NAMES[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment:%Y %H:%M:%S} +0000"
