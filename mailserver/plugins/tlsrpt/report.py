"""The report itself (RFC 8460 §4.4), and the message that carries it (§5.3)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from mailserver import api

__all__ = ["MEDIA_TYPE", "Report", "make_report", "message"]

MEDIA_TYPE = "application/tlsrpt+gzip"
_DAY = 86400
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")
_KINDS = {"sts": "MTA-STS", "tlsa": "DANE", "no-policy-found": "no policy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One domain's report of one day, the same whenever it is made: `id` and `file_name` follow from both.

    `contact` is the address that it comes from. Times are epoch seconds.
    """

    domain: str
    begins: int
    contact: api.EmailAddress
    organisation: str
    id: str
    file_name: str
    octets: bytes
    summary: str


def make_report(
    day: str, domain: str, policies: Sequence[Mapping[str, Any]], *, contact: api.EmailAddress, organisation: str
) -> Report:
    """Of what `database.load` gives."""
    begins = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    identity = f"{day}.{domain}@{contact.domain}"
    facts = {
        "organization-name": organisation,
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"},
        "contact-info": str(contact),
        "report-id": identity,
        "policies": [_policy(row) for row in policies],
    }
    # RFC 8460 §5.1.
    name = f"{contact.domain}!{domain}!{begins}!{begins + _DAY - 1}.json.gz"
    return Report(
        domain=domain, begins=begins, contact=contact, organisation=organisation, id=identity,
        file_name=re.sub(r"[^A-Za-z0-9.!_-]", "_", name), octets=gzip.compress(orjson.dumps(facts), mtime=begins),
        summary="\n".join(_told(row) for row in policies),
    )  # fmt: skip


def _policy(row: Mapping[str, Any]) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": row["type"]}
    if row["text"]:
        policy["policy-string"] = row["text"]
    policy["policy-domain"] = row["domain"]
    if row["patterns"]:
        policy["mx-host"] = row["patterns"]
    found: dict[str, Any] = {
        "policy": policy,
        "summary": {"total-successful-session-count": row["good"], "total-failure-session-count": row["bad"]},
    }
    if row["failures"]:
        found["failure-details"] = [_failure(failure) for failure in row["failures"]]
    return found


def _failure(row: Mapping[str, Any]) -> dict[str, Any]:
    named = {
        "result-type": row["result"], "sending-mta-ip": row["source"], "receiving-mx-hostname": row["host"],
        "receiving-ip": row["address"], "failed-session-count": row["count"], "failure-reason-code": row["reason"],
    }  # fmt: skip
    return {name: value for name, value in named.items() if value != ""}


def _told(row: Mapping[str, Any]) -> str:
    lines = [f"{_KINDS[row['type']]} ({row['domain']}): {row['good']} sessions good, {row['bad']} failed"]
    for failure in row["failures"]:
        where = " ".join(filter(None, (failure["host"], failure["address"] and f"[{failure['address']}]")))
        about = ": ".join(filter(None, (where, failure["reason"])))
        lines.append(f"  {failure['count']} x {failure['result']}{f' ({about})' if about else ''}")
    return "\n".join(lines)


def message(report: Report, to: Sequence[api.EmailAddress], *, at: float, hostname: str, seed: str) -> bytes:
    """The report by mail: multipart/report, a text for people and the file for programs."""
    day = f"{datetime.fromtimestamp(report.begins, UTC):%Y-%m-%d}"
    text = (
        f"This is an aggregate TLS report (RFC 8460) from {report.contact.domain} about {report.domain},\n"
        f"for {day} (UTC): how connections to its mail servers were protected.\n\n{report.summary}\n"
    )
    parts = [
        api.make_part("text/plain; charset=utf-8", "Summary", text.encode(), eight_bit=False),
        api.make_attachment(MEDIA_TYPE, "Report", report.file_name, report.octets),
    ]
    boundary, body = api.join_parts(parts, seed)
    left, _, right = report.id.partition("@")
    header = [
        f"Date: {api.format_date(at)}",
        f"From: {api.phrase(report.organisation)} <{report.contact}>",
        f"To: {', '.join(f'<{address}>' for address in to)}",
        # RFC 8460 §5.3: the form of the subject, by which duplicates are known.
        f"Subject: Report Domain: {report.domain}",
        f" Submitter: {report.contact.domain}",
        f" Report-ID: <{_UNSAFE.sub('-', left)}@{right}>",
        f"Message-ID: <{seed}.tlsrpt@{hostname}>",
        f"TLS-Report-Domain: {report.domain}",
        f"TLS-Report-Submitter: {report.contact.domain}",
        # RFC 8460 §3: it arrives whatever is wrong with TLS (RFC 8689 §4.2).
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type="tlsrpt";\r\n boundary="{boundary}"',
    ]
    return "\r\n".join([*header, "", ""]).encode("ascii", "replace") + body
