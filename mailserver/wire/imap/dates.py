"""Dates of IMAP: INTERNALDATE (RFC 9051 §9 date-time) and the days of SEARCH (date)."""

from __future__ import annotations

import calendar
import datetime
import re
import time
from functools import lru_cache

from mailserver.model.errors import InvalidInput

__all__ = ["format_date_time", "parse_date", "parse_date_time"]

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_NUMBERS = {month.lower(): number for number, month in enumerate(_MONTHS, 1)}
_DATE_TIME = re.compile(
    rb"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"
)
_DATE = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")
_DAY = 86_400


def parse_date_time(text: bytes) -> int:
    """Seconds since 1970 UTC of `17-Jul-1996 02:44:25 -0700` (without the quotes).

    Raises:
        InvalidInput: not a date-time, or no such moment. A leap second is taken as the second before.
    """
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        raise InvalidInput('a date-time is like "17-Jul-1996 02:44:25 -0700"')
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    try:
        moment = datetime.datetime(
            int(year), _NUMBERS.get(month.lower(), 0), int(day), int(hour), int(minute), min(int(second), 59)
        )
    except ValueError:
        raise InvalidInput("there is no such date or time of day") from None
    if int(second) > 60 or int(zone_hours) > 23 or int(zone_minutes) > 59:
        raise InvalidInput("there is no such second or time zone")
    offset = int(zone_hours) * 3600 + int(zone_minutes) * 60
    return calendar.timegm(moment.timetuple()) - (offset if sign == b"+" else -offset)


def parse_date(text: bytes) -> datetime.date:
    """The day of `1-Feb-1994` (without quotes).

    Raises:
        InvalidInput: not a date, or no such day.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        raise InvalidInput("a date is like 1-Feb-1994")
    try:
        return datetime.date(int(found[3]), _NUMBERS.get(found[2].lower(), 0), int(found[1]))
    except ValueError:
        raise InvalidInput("there is no such day") from None


def format_date_time(seconds: int) -> bytes:
    """A moment as `"17-Jul-1996 09:44:25 +0000"`, with its quotes; years outside 1 to 9999 become the nearest."""
    day, rest = divmod(seconds, _DAY)
    hours, rest = divmod(rest, 3600)
    return b'"%b %02d:%02d:%02d +0000"' % (_format_day(day), hours, *divmod(rest, 60))


# The messages of one FETCH share few days.
@lru_cache(maxsize=1024)
def _format_day(day: int) -> bytes:
    first, last = -719_162, 2_932_896
    moment = time.gmtime(min(max(day, first), last) * _DAY)
    return b"%2d-%b-%04d" % (moment.tm_mday, _MONTHS[moment.tm_mon - 1], moment.tm_year)
