"""The record and the policy of MTA-STS as texts (RFC 8461 §3): linear, bounded, and open for fields to come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["LONGEST_AGE", "Invalid", "Mode", "StsPolicy", "parse_policy", "parse_record"]

#: RFC 8461 §3.2: about a year.
LONGEST_AGE = 31_557_600
_LONGEST_RECORD = 8 << 10
_RECORD_BEGINS = re.compile(rb"v=STSv1[ \t]*;")
_RECORD_FIELD = re.compile(rb"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=([\x21-\x3a\x3c\x3e-\x7e]+)")
_ID = re.compile(rb"[A-Za-z0-9]{1,32}")
_POLICY_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*([^ \t].*)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_AGE = re.compile(r"[0-9]{1,10}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_LONGEST_NAME = 253


class Invalid(Exception):
    """It is not what RFC 8461 says; the text tells where."""


class Mode(Enum):
    """What a domain wants done when its policy is not met."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class StsPolicy:
    """`max_age` in seconds; `patterns` in lower case; `text` are the lines as the domain wrote them."""

    mode: Mode
    max_age: int
    patterns: tuple[str, ...]
    text: tuple[str, ...]

    def allows(self, host: str) -> bool:
        """Whether a pattern fits: the name itself, or `*.` for exactly one label (RFC 8461 §4.1)."""
        name = host.lower().rstrip(".")
        label, _, rest = name.partition(".")
        return any(
            pattern[2:] == rest and label != "" if pattern.startswith("*.") else pattern == name
            for pattern in self.patterns
        )


def parse_record(strings: Sequence[bytes]) -> str:
    """The id in the TXT records of `_mta-sts.<domain>`; "": the domain has no MTA-STS (RFC 8461 §3.1).

    Raises Invalid: what is there must be taken for nothing.
    """
    records = [string for string in strings if _RECORD_BEGINS.match(string)]
    if not records:
        return ""
    if len(records) > 1:
        raise Invalid("there are several records")
    record = records[0].strip(b" \t")
    if len(record) > _LONGEST_RECORD:
        raise Invalid("the record is too long")
    fields = record.removesuffix(b";").split(b";")[1:]
    found = None
    for field in fields:
        match = _RECORD_FIELD.fullmatch(field.strip(b" \t"))
        if match is None:
            raise Invalid("a field of the record is not name=value")
        # RFC 8461 §3.2: of what is there twice the first counts.
        if match[1] == b"id" and found is None:
            found = match[2]
    if found is None or not _ID.fullmatch(found):
        raise Invalid("the record has no id of 1 to 32 letters and digits")
    return found.decode("ascii")


def parse_policy(body: bytes) -> StsPolicy:
    """A policy file (RFC 8461 §3.2); its size is bounded by whoever fetched it. Raises Invalid."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("it is not UTF-8") from None
    lines = [line.removesuffix("\r").rstrip(" \t") for line in text.split("\n")]
    fields: dict[str, str] = {}
    patterns: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        match = None if _CONTROL.search(line) else _POLICY_FIELD.fullmatch(line)
        if match is None:
            raise Invalid(f"line {number} is not name: value")
        if match[1] == "mx":
            patterns[_pattern(match[2], number)] = None
        else:
            fields.setdefault(match[1], match[2])
    if fields.get("version") != "STSv1":
        raise Invalid("the version is not STSv1")
    try:
        mode = Mode(fields.get("mode", ""))
    except ValueError:
        raise Invalid("the mode is not enforce, testing or none") from None
    age = fields.get("max_age", "")
    if not _AGE.fullmatch(age):
        raise Invalid("max_age is not a number of seconds")
    if not patterns and mode is not Mode.NONE:
        raise Invalid("it names no mx")
    return StsPolicy(
        mode=mode, max_age=min(int(age), LONGEST_AGE), patterns=tuple(patterns),
        text=tuple(line for line in lines if line),
    )  # fmt: skip


def _pattern(value: str, number: int) -> str:
    if len(value) > _LONGEST_NAME or not _PATTERN.fullmatch(value):
        raise Invalid(f"the mx in line {number} is neither the name of a host nor *. before one")
    return value.lower()
