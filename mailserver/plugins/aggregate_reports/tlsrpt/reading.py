"""Reports that others send (RFC 8460 §4.4), bounded and never raising: anybody can write us anything.

A report is at most `_MAX_UNPACKED` octets and so many values; of what it says only what is counted is kept, cut short.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from mailserver import api
from mailserver.plugins.aggregate_reports.kind import Received, ReceivedPart
from mailserver.plugins.aggregate_reports.text import clean, related

__all__ = ["read_message", "read_octets"]

#: RFC 8460 §5.2: "a commonly observed receiver limit is ten megabytes".
_MAX_UNPACKED = 10_000_000
_MAX_VALUES = 500_000
_MOST_POLICIES, _MOST_FAILURES = 100, 20
_MOST_COUNT = 2**53
_LONGEST = 150
_YEARS = range(2015, 2200)
_TYPES = ("application/tlsrpt+gzip", "application/tlsrpt+json")
_KINDS = ("sts", "tlsa", "no-policy-found")


def read_message(message: bytes) -> Received:
    """The report in a message. Raises BadFile."""
    part = api.find_part(message, _TYPES)
    if part is None:
        raise api.BadFile(f"there is no part {' or '.join(_TYPES)}")
    report = read_octets(part[1])
    header = message[: api.header_block_end(message)]
    author = api.author_domain(header) or ""
    # RFC 8460 §3: one that its reporter did not sign is ignored.
    names = [name for name in (report.contact.rpartition("@")[2].lower(), author.lower()) if name]
    if not any(related(name, signer) for name in names for signer in api.dkim_signers(header)):
        raise api.BadFile("it is not signed by its reporter (DKIM)")
    return report


def read_octets(octets: bytes) -> Received:
    """The report in a file, packed or not. Raises BadFile."""
    text = api.unpack(octets, _MAX_UNPACKED)
    # What it becomes in memory is bounded before it is made.
    if text.count(b",") + text.count(b"[") + text.count(b"{") > _MAX_VALUES:
        raise api.BadFile(f"it has more than {_MAX_VALUES} values")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise api.BadFile("it is not JSON") from None
    if not isinstance(found, dict):
        raise api.BadFile("it is not a JSON object")
    return _report(found)


def _report(found: dict[str, Any]) -> Received:
    span = found.get("date-range")
    policies = found.get("policies")
    if not isinstance(span, dict) or not isinstance(policies, list):
        raise api.BadFile("it has no date-range or no policies")
    begins = _moment(span.get("start-datetime"))
    read = tuple(_policies(policies))
    if not read:
        raise api.BadFile("it has no policy of any domain")
    return Received(
        organisation=_text(found.get("organization-name")), contact=_text(found.get("contact-info")),
        id=_text(found.get("report-id")), begins=begins, ends=max(begins, _moment(span.get("end-datetime"))),
        parts=read,
    )  # fmt: skip


def _policies(rows: list[Any]) -> Iterator[ReceivedPart]:
    for row in rows[:_MOST_POLICIES]:
        policy = row.get("policy") if isinstance(row, dict) else None
        summary = row.get("summary") if isinstance(row, dict) else None
        if not isinstance(policy, dict) or not isinstance(summary, dict):
            continue
        domain = api.public_domain(_text(policy.get("policy-domain")))
        kind = _text(policy.get("policy-type"))
        failed = _count(summary.get("total-failure-session-count"))
        facts = {
            "type": kind if kind in _KINDS else "other", "bad": failed, "failures": list(_failures(row)),
            "good": _count(summary.get("total-successful-session-count")),
        }  # fmt: skip
        if domain:
            yield ReceivedPart(domain=domain, failed=failed, facts=facts)


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
    return clean(value, _LONGEST) if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return min(value, _MOST_COUNT) if type(value) is int and value > 0 else 0


def _moment(value: Any) -> float:
    """RFC 3339 §5.6. Raises BadFile."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise api.BadFile("its date-range is not readable") from None
    if found.year not in _YEARS:
        raise api.BadFile("its date-range is of another time")
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
