"""What the answer of a list means. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["check_pattern", "points_of", "refusals", "sensible"]

_OCTET = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?|\*", re.ASCII)
_ADDRESS = re.compile(r"127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)


def check_pattern(pattern: str) -> None:
    """Pass `127.0.0.2`, `127.0.0.10-11`, `127.0.*.3`; else raise ValueError."""
    parts = pattern.split(".")
    good = len(parts) == 4 and parts[0] == "127"
    for part in parts:
        match = _OCTET.fullmatch(part)
        good = good and match is not None and all(int(number) <= 255 for number in match.groups() if number)
    if not good:
        raise ValueError(f'{pattern!r} is no answer of a list, such as "127.0.0.2", "127.0.0.10-11" or "127.0.*.3"')


def sensible(records: Iterable[str]) -> list[str]:
    """The answers that mean something: those in 127/8 (RFC 5782 §2.1). Whoever sells a dead zone answers otherwise."""
    return [record for record in records if _ADDRESS.fullmatch(record)]


def refusals(records: Iterable[str]) -> list[str]:
    """Answers by which lists say that they do not answer us: 127.255.255.x, and 127.0.0.1, which is never listed."""
    return [record for record in records if record.startswith("127.255.255.") or record == "127.0.0.1"]


def points_of(records: Iterable[str], points: float, codes: Mapping[str, float]) -> float:
    """What sensible answers count: `points` each way when there are no `codes`, else the strongest that is named."""
    records = list(records)
    if not codes:
        return points if records else 0.0
    found = [value for pattern, value in codes.items() if any(_matches(pattern, record) for record in records)]
    return max(found, key=abs, default=0.0)


def _matches(pattern: str, record: str) -> bool:
    for part, octet in zip(pattern.split("."), record.split("."), strict=True):
        match = _OCTET.fullmatch(part)
        if match is None or (match[1] and not int(match[1]) <= int(octet) <= int(match[2] or match[1])):
            return False
    return True
