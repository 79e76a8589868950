"""Times on the command line: "2h" before or after now, or a date; and how they are shown."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import click

__all__ = ["AFTER", "BEFORE", "UNTIL", "Moment", "ago", "moment", "span"]

_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(s|m|h|d|w)", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NAMES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class Moment(click.ParamType[float]):
    """Epoch seconds, from a span ("90s", "2h", "3d") or a date and time; without a zone it is this machine's."""

    name = "time"

    def __init__(self, sign: int) -> None:
        self._sign = sign

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails with an example."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        match = _SPAN.fullmatch(text)
        if match is not None:
            return time.time() + self._sign * float(match[1]) * _UNITS[match[2]]
        try:
            return datetime.fromisoformat(text).astimezone().timestamp()
        except (ValueError, OverflowError):
            self.fail(f'{text!r} is no time: write "2h", "3d", "2026-12-24" or "2026-12-24 18:00"', param, ctx)


class _Until(Moment):
    """A date alone means its end."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As a moment."""
        found = super().convert(value, param, ctx)
        if _DATE.fullmatch(str(value).strip()) is None:
            return found
        return (datetime.fromtimestamp(found) + timedelta(days=1)).timestamp()


#: A span is counted back from now, or from now on.
BEFORE, AFTER, UNTIL = Moment(-1), Moment(1), _Until(1)


def moment(seconds: float | None) -> str:
    """A time for people; "-" for none."""
    if not seconds:
        return "-"
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (ValueError, OverflowError):
        return "-"


def span(seconds: float) -> str:
    """ "3 minutes" """
    for unit, name in _NAMES:
        if seconds >= unit or unit == 1:
            number = round(seconds / unit)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return ""


def ago(seconds: float) -> str:
    """A time with how far it is from now: "… (in 3 minutes)"."""
    left = seconds - time.time()
    return f"{moment(seconds)} ({f'in {span(left)}' if left >= 0 else f'{span(-left)} ago'})"
