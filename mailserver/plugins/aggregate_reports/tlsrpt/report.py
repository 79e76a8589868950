"""A report as RFC 8460 has it: its JSON (§4.4), and how it travels (§5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from mailserver.plugins.aggregate_reports.document import Form, Heading

__all__ = ["FORM", "lines", "policies", "report_json"]

Row = Mapping[str, Any]
FORM = Form(
    media_type="application/tlsrpt+gzip", multipart='multipart/report; report-type="tlsrpt"', suffix="json",
    title="an aggregate TLS report (RFC 8460)",
    told="how connections to its mail servers were protected",
    fields=(
        "TLS-Report-Domain: {domain}", "TLS-Report-Submitter: {submitter}",
        # RFC 8460 §3: it arrives whatever is wrong with TLS (RFC 8689 §4.2).
        "TLS-Required: No",
    ),
)  # fmt: skip
_KINDS = {"sts": "MTA-STS", "tlsa": "DANE", "no-policy-found": "no policy"}
_OF_POLICY, _OF_FAILURE = ("type", "domain", "text", "patterns"), ("result", "source", "host", "address", "reason")


def policies(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of a day by policy, each with good and bad sessions, and its failures."""
    found: dict[bytes, dict[str, Any]] = {}
    for row in rows:
        key = {name: row[name] for name in _OF_POLICY}
        policy = found.setdefault(orjson.dumps(key), key | {"good": 0, "bad": 0, "failures": []})
        policy["bad" if row["result"] else "good"] += row["count"]
        if row["result"]:
            policy["failures"].append({name: row[name] for name in (*_OF_FAILURE, "count")})
    return list(found.values())


def report_json(heading: Heading, rows: Sequence[Row]) -> bytes:
    """The file, of what `policies` gives."""
    return orjson.dumps({
        "organization-name": heading.organisation,
        "date-range": {"start-datetime": f"{heading.day}T00:00:00Z", "end-datetime": f"{heading.day}T23:59:59Z"},
        "contact-info": str(heading.contact),
        "report-id": heading.id,
        "policies": [_policy(row) for row in rows],
    })  # fmt: skip


def _policy(row: Row) -> dict[str, Any]:
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


def _failure(row: Row) -> dict[str, Any]:
    named = {
        "result-type": row["result"], "sending-mta-ip": row["source"], "receiving-mx-hostname": row["host"],
        "receiving-ip": row["address"], "failed-session-count": row["count"], "failure-reason-code": row["reason"],
    }  # fmt: skip
    return {name: value for name, value in named.items() if value != ""}


def lines(rows: Sequence[Row]) -> list[str]:
    """For people, of what `policies` gives."""
    return [line for row in rows for line in _lines(row)]


def _lines(row: Row) -> Iterator[str]:
    yield f"{_KINDS[row['type']]} ({row['domain']}): {row['good']} sessions good, {row['bad']} failed"
    for failure in row["failures"]:
        where = " ".join(filter(None, (failure["host"], failure["address"] and f"[{failure['address']}]")))
        about = ": ".join(filter(None, (where, failure["reason"])))
        yield f"  {failure['count']} x {failure['result']}{f' ({about})' if about else ''}"
