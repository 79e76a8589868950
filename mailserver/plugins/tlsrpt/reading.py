"""Reports that others send (RFC 8460 §4.4), bounded and never raising: anybody can write us anything.

A report is at most `MAX_UNPACKED` octets and so many values; of what it says only what is counted is kept, cut short.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from mailserver import api
from mailserver.plugins.tlsrpt.collecting import clean

__all__ = ["MAX_MESSAGE", "ReceivedPolicy", "ReceivedReport", "Unreadable", "read_message", "read_octets"]

#: RFC 8460 §5.2: "a commonly observed receiver limit is ten megabytes".
MAX_UNPACKED = 10_000_000
MAX_MESSAGE = 16 << 20
_MAX_VALUES = 500_000
_MOST_POLICIES, _MOST_FAILURES = 100, 20
_MOST_COUNT = 2**53
_LONGEST = 150
_YEARS = range(2015, 2200)
_GZIP, _JSON = "application/tlsrpt+gzip", "application/tlsrpt+json"
_ANY_GZIP = 31
_KINDS = ("sts", "tlsa", "no-policy-found")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPolicy:
    """Sessions under one policy; `failures` have result, host, address, source, reason and count."""

    domain: str
    type: str
    good: int
    bad: int
    failures: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedReport:
    """Times are epoch seconds; texts are short and printable. `contact` is an address, or what stood for one."""

    organisation: str
    contact: str
    id: str
    begins: float
    ends: float
    policies: tuple[ReceivedPolicy, ...]


class Unreadable(Exception):
    """It is no report; the words say why."""


def read_message(message: bytes) -> ReceivedReport:
    """The report in a message. Raises Unreadable."""
    part = api.find_part(message, (_GZIP, _JSON))
    if part is None:
        raise Unreadable(f"there is no part {_GZIP} or {_JSON}")
    kind, octets = part
    report = read_octets(octets, packed=kind == _GZIP)
    header = message[: api.header_block_end(message)]
    author = api.author_domain(header) or ""
    # RFC 8460 §3: one that its reporter did not sign is ignored.
    names = [name for name in (report.contact.rpartition("@")[2].lower(), author.lower()) if name]
    if not any(_related(name, signer) for name in names for signer in api.dkim_signers(header)):
        raise Unreadable("it is not signed by its reporter (DKIM)")
    return report


def _related(name: str, signer: str) -> bool:
    return name == signer or name.endswith(f".{signer}") or signer.endswith(f".{name}")


def read_octets(octets: bytes, *, packed: bool) -> ReceivedReport:
    """The report in a file. Raises Unreadable."""
    text = _unpacked(octets) if packed else octets
    if len(text) > MAX_UNPACKED:
        raise Unreadable(f"it has more than {MAX_UNPACKED} octets")
    # What it becomes in memory is bounded before it is made.
    if text.count(b",") + text.count(b"[") + text.count(b"{") > _MAX_VALUES:
        raise Unreadable(f"it has more than {_MAX_VALUES} values")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Unreadable("it is not JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("it is not a JSON object")
    return _report(found)


def _unpacked(octets: bytes) -> bytes:
    unpacking = zlib.decompressobj(_ANY_GZIP)
    try:
        text = unpacking.decompress(octets, MAX_UNPACKED + 1)
    except zlib.error:
        raise Unreadable("it is not gzip") from None
    if not unpacking.eof and len(text) <= MAX_UNPACKED:
        raise Unreadable("it is cut off")
    return text


def _report(found: dict[str, Any]) -> ReceivedReport:
    span = found.get("date-range")
    policies = found.get("policies")
    if not isinstance(span, dict) or not isinstance(policies, list):
        raise Unreadable("it has no date-range or no policies")
    begins = _moment(span.get("start-datetime"))
    read = tuple(_policies(policies))
    if not read:
        raise Unreadable("it has no policy of any domain")
    return ReceivedReport(
        organisation=_text(found.get("organization-name")), contact=_text(found.get("contact-info")),
        id=_text(found.get("report-id")), begins=begins, ends=max(begins, _moment(span.get("end-datetime"))),
        policies=read,
    )  # fmt: skip


def _policies(rows: list[Any]) -> Iterator[ReceivedPolicy]:
    for row in rows[:_MOST_POLICIES]:
        policy = row.get("policy") if isinstance(row, dict) else None
        summary = row.get("summary") if isinstance(row, dict) else None
        if not isinstance(policy, dict) or not isinstance(summary, dict):
            continue
        domain = api.public_domain(_text(policy.get("policy-domain")))
        kind = _text(policy.get("policy-type"))
        if domain:
            yield ReceivedPolicy(
                domain=domain, type=kind if kind in _KINDS else "other",
                good=_count(summary.get("total-successful-session-count")),
                bad=_count(summary.get("total-failure-session-count")), failures=tuple(_failures(row)),
            )  # fmt: skip


def _failures(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    details = row.get("failure-details")
    for one in details[:_MOST_FAILURES] if isinstance(details, list) else ():
        if isinstance(one, dict) and one.get("result-type"):
            yield {
                "result": _text(one["result-type"]), "host": _text(one.get("receiving-mx-hostname")),
                "address": _text(one.get("receiving-ip")), "source": _text(one.get("sending-mta-ip")),
                "reason": _text(one.get("failure-reason-code")), "count": _count(one.get("failed-session-count")),
            }  # fmt: skip


def _text(value: Any) -> str:
    return clean(value[:_LONGEST]) if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return min(value, _MOST_COUNT) if type(value) is int and value > 0 else 0


def _moment(value: Any) -> float:
    """RFC 3339 §5.6. Raises Unreadable."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise Unreadable("its date-range is not readable") from None
    if found.year not in _YEARS:
        raise Unreadable("its date-range is of another time")
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
