"""A report as RFC 9990 has it: its XML (§3.1.1, appendix A), and how it travels (§3.5.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import orjson

from mailserver.plugins.aggregate_reports.document import Form, Heading
from mailserver.plugins.aggregate_reports.kind import Found

__all__ = ["FORM", "lines", "xml"]

FORM = Form(
    media_type="application/gzip", multipart="multipart/mixed", suffix="xml",
    title="an aggregate report of DMARC (RFC 9990)",
    told="what came in its name, from where, and whether it was proved",
)  # fmt: skip
_GENERATOR = "mailserver"
_PASS = {True: "pass", False: "fail"}
_POLICY = ("p", "sp", "np", "fo", "adkim", "aspf", "testing")


def xml(heading: Heading, found: Found) -> bytes:
    """The file."""
    about: list[tuple[str, Any]] = [
        ("org_name", heading.organisation), ("email", str(heading.contact)), ("report_id", heading.id),
        ("date_range", [("begin", heading.begins), ("end", heading.ends)]),
    ]  # fmt: skip
    if found.lost:
        about.append(("error", f"{found.lost} more messages are in no record: too many kinds of mail came"))
    about.append(("generator", _GENERATOR))
    policy = orjson.loads(found.about)
    published = [
        ("domain", heading.domain), ("discovery_method", "treewalk"), *((name, policy[name]) for name in _POLICY),
    ]  # fmt: skip
    content = [
        ("version", "1.0"), ("report_metadata", about), ("policy_published", published),
        *(("record", _record(row)) for row in found.rows),
    ]  # fmt: skip
    start = ['<?xml version="1.0" encoding="UTF-8"?>', '<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">']
    return "\n".join([*start, *_elements(content, " "), "</feedback>", ""]).encode()


def _record(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    evaluated: list[tuple[str, Any]] = [
        ("disposition", row["disposition"]), ("dkim", _PASS[row["dkim"]]), ("spf", _PASS[row["spf"]]),
    ]  # fmt: skip
    for kind, comment in row["reasons"]:
        evaluated.append(("reason", [("type", kind), ("comment", comment)] if comment else [("type", kind)]))
    results: list[tuple[str, Any]] = [
        ("dkim", [("domain", domain), ("selector", selector), ("result", result)])
        for domain, selector, result in row["signatures"]
    ]
    if row["sender_spf"] is not None:
        domain, result = row["sender_spf"]
        results.append(("spf", [("domain", domain), ("scope", "mfrom"), ("result", result)]))
    return [
        ("row", [("source_ip", row["source"]), ("count", row["count"]), ("policy_evaluated", evaluated)]),
        # Not to whom it came: that tells who has mail here, and nothing about the sender.
        ("identifiers", [("header_from", row["author"]), ("envelope_from", row["sender"])]),
        ("auth_results", results),
    ]


def _elements(content: Sequence[tuple[str, Any]], indent: str) -> Iterator[str]:
    for name, value in content:
        if isinstance(value, list):
            yield f"{indent}<{name}>"
            yield from _elements(value, indent + " ")
            yield f"{indent}</{name}>"
        else:
            yield f"{indent}<{name}>{escape(str(value), quote=False)}</{name}>"


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For people."""
    return [_line(row) for row in rows]


def _line(row: Mapping[str, Any]) -> str:
    proved = " and ".join(name for name, passed in (("DKIM", row["dkim"]), ("SPF", row["spf"])) if passed)
    done = {"quarantine": ", taken for junk", "reject": ", refused"}.get(row["disposition"], "")
    return f"{row['count']} x {row['author']} from [{row['source']}]: proved by {proved or 'nothing'}{done}"
