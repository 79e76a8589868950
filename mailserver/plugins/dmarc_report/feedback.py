"""A report as RFC 9990 has it: its XML (§3.1.1, appendix A), its names, and the message that carries it (§3.5.2)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from mailserver import api

__all__ = ["Feedback", "make_feedback", "message"]

_DAY = 86400
_GENERATOR = "mailserver"
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")
_PASS = {True: "pass", False: "fail"}
_POLICY = ("p", "sp", "np", "fo", "adkim", "aspf", "testing")
#: In the part for people.
_MOST_TOLD = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One domain's report of one day, the same whenever it is made: `id` and `file_name` follow from both.

    `contact` is the address that it comes from; `begins` in epoch seconds; `octets` are packed with gzip.
    """

    domain: str
    begins: int
    contact: api.EmailAddress
    organisation: str
    id: str
    file_name: str
    octets: bytes
    summary: str


def make_feedback(
    day: str, domain: str, found: Mapping[str, Any], *, contact: api.EmailAddress, organisation: str
) -> Feedback:
    """Of what `database.load` gives."""
    begins = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    # §3.5.1: a dot-atom on both sides.
    identity = f"{day}.{_UNSAFE.sub('-', domain)}@{contact.domain}"
    about: list[tuple[str, Any]] = [
        ("org_name", organisation), ("email", str(contact)), ("report_id", identity),
        ("date_range", [("begin", begins), ("end", begins + _DAY - 1)]),
    ]  # fmt: skip
    if found["lost"]:
        about.append(("error", f"{found['lost']} more messages are in no record: too many kinds of mail came"))
    about.append(("generator", _GENERATOR))
    policy = found["policy"]
    published = [("domain", domain), ("discovery_method", "treewalk"), *((name, policy[name]) for name in _POLICY)]
    content = [
        ("version", "1.0"), ("report_metadata", about), ("policy_published", published),
        *(("record", _record(row)) for row in found["rows"]),
    ]  # fmt: skip
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">']
    text = "\n".join([*lines, *_xml(content, " "), "</feedback>", ""])
    # §3.5.2.
    name = f"{contact.domain}!{domain}!{begins}!{begins + _DAY - 1}.xml.gz"
    return Feedback(
        domain=domain, begins=begins, contact=contact, organisation=organisation, id=identity,
        file_name=re.sub(r"[^A-Za-z0-9.!_-]", "_", name), octets=gzip.compress(text.encode(), mtime=begins),
        summary="\n".join(_told(found["rows"])),
    )  # fmt: skip


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


def _xml(content: Sequence[tuple[str, Any]], indent: str) -> Iterator[str]:
    for name, value in content:
        if isinstance(value, list):
            yield f"{indent}<{name}>"
            yield from _xml(value, indent + " ")
            yield f"{indent}</{name}>"
        else:
            yield f"{indent}<{name}>{escape(str(value), quote=False)}</{name}>"


def _told(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows[:_MOST_TOLD]:
        proved = " and ".join(name for name, passed in (("DKIM", row["dkim"]), ("SPF", row["spf"])) if passed)
        done = {"quarantine": ", taken for junk", "reject": ", refused"}.get(row["disposition"], "")
        yield f"{row['count']} x {row['author']} from [{row['source']}]: proved by {proved or 'nothing'}{done}"
    if len(rows) > _MOST_TOLD:
        yield f"and {len(rows) - _MOST_TOLD} more kinds"


def message(feedback: Feedback, to: api.EmailAddress, *, at: float, hostname: str, seed: str) -> bytes:
    """The report by mail: a text for people, and the file for programs."""
    day = f"{datetime.fromtimestamp(feedback.begins, UTC):%Y-%m-%d}"
    text = (
        f"This is an aggregate report of DMARC (RFC 9990) from {feedback.contact.domain} about {feedback.domain},\n"
        f"for {day} (UTC): what came in its name, from where, and whether it was proved.\n\n"
        f"{feedback.summary}\n"
    )
    parts = [
        api.make_part("text/plain; charset=utf-8", "Summary", text.encode(), eight_bit=False),
        api.make_attachment("application/gzip", "Report", feedback.file_name, feedback.octets),
    ]
    boundary, body = api.join_parts(parts, seed)
    header = [
        f"Date: {api.format_date(at)}",
        f"From: {api.phrase(feedback.organisation)} <{feedback.contact}>",
        f"To: <{to}>",
        # §3.5.2: the form of the subject, by which duplicates are known.
        f"Subject: Report Domain: {feedback.domain}",
        f" Submitter: {feedback.contact.domain}",
        f" Report-ID: <{feedback.id}>",
        f"Message-ID: <{seed}.dmarc@{hostname}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed;\r\n boundary="{boundary}"',
    ]
    return "\r\n".join([*header, "", ""]).encode("ascii", "replace") + body
