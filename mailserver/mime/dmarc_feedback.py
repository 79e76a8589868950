"""Aggregate reports of DMARC (RFC 9990 §3.1.1, RFC 7489 appendix C) as others write them, summed up.

Anybody can write us anything, so this is bounded, knows no DTD and no entities (§8.1; ATTACKS L14), and imports only
what comes with Python: `feedback_json` runs in a process of its own (net/confined.py).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from mailserver.mime.packed_file import BadFile, unpack

__all__ = ["MAX_FEEDBACK", "feedback_json", "read_feedback"]

#: Octets of XML.
MAX_FEEDBACK = 10_000_000
_MAX_ELEMENTS = 500_000
_MAX_DEPTH = 20
#: Rows that are kept apart, and those with the most messages are shown.
_MOST_ROWS, _MOST_SHOWN = 20_000, 100
_MOST_NAMED = 10
_LONGEST = 200
_COUNT = re.compile(r"[0-9]{1,15}")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_WORD = re.compile(r"[a-z_]{1,24}")
#: Until 2200; examples in documents are of 1975.
_MOMENTS = range(1, 7_258_118_400)
_RECORD = "feedback/record"
_POLICY = "feedback/policy_published"
_ABOUT = "feedback/report_metadata"
_SIGNER, _REASON = f"{_RECORD}/auth_results/dkim", f"{_RECORD}/row/policy_evaluated/reason"
_KNOWN = frozenset(
    [f"{_ABOUT}/{name}" for name in ("org_name", "email", "report_id", "date_range/begin", "date_range/end")]
    + [f"{_POLICY}/{name}" for name in ("domain", "p")]
    + [f"{_RECORD}/row/{name}" for name in ("source_ip", "count")]
    + [f"{_RECORD}/row/policy_evaluated/{name}" for name in ("disposition", "dkim", "spf", "reason/type")]
    + [f"{_RECORD}/identifiers/{name}" for name in ("header_from", "envelope_from")]
    + [f"{_RECORD}/auth_results/{name}" for name in ("dkim/domain", "dkim/result", "spf/domain", "spf/result")]
)

_Row = tuple[str, str, str, str, str, str, str, tuple[str, ...], tuple[str, ...]]
_FIELDS = ("source", "disposition", "dkim", "spf", "author", "sender", "sender_spf", "signers", "reasons")


def feedback_json(octets: bytes) -> bytes:
    """What `read_feedback` gives, or {"fault": why it is no report}, as JSON."""
    try:
        found = read_feedback(octets)
    except BadFile as error:
        found = {"fault": str(error)}
    return json.dumps(found).encode()


def read_feedback(octets: bytes) -> dict[str, Any]:
    """A report, packed or not: organisation, contact, id, domain, p, begins and ends (epoch seconds), how many messages
    there were, how many of them failed (neither DKIM nor SPF proved the author), were refused and put in quarantine;
    the `rows` with most of them, and in how many messages the other rows were (`left`). Raises BadFile.
    """
    text = unpack(octets, MAX_FEEDBACK)
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.EntityDeclHandler = _no_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise BadFile(f"it is not XML: {_clean(str(error))}") from None
    return reader.report()


def _no_doctype(*_: Any) -> None:
    raise BadFile("it has a DTD, which a report has no use for")


class _Reader:
    """Gathers what is known by its path; all else is passed over (§3.2, §5)."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._elements = 0
        self._text = ""
        self._facts: dict[str, str] = {}
        self._record: dict[str, str] = {}
        self._signers: list[str] = []
        self._reasons: list[str] = []
        self._rows: dict[_Row, int] = {}
        self._beyond = 0
        self._totals = {"messages": 0, "failed": 0, "refused": 0, "quarantined": 0}
        self._at_end: dict[str, Callable[[], None]] = {
            _RECORD: self._end_record,
            _SIGNER: self._end_signer,
            _REASON: self._end_reason,
        }

    def start(self, tag: str, _attributes: object) -> None:
        """Whatever prefix it has: reports use the namespace of RFC 9990, older ones, or none."""
        self._elements += 1
        name = tag.rpartition(":")[2]
        self._text = ""
        if self._elements > _MAX_ELEMENTS or len(self._paths) >= _MAX_DEPTH or len(tag) > _LONGEST:
            raise BadFile(f"it has more than {_MAX_ELEMENTS} elements, more than {_MAX_DEPTH} within each other, or"
                          " names without end")  # fmt: skip
        if self._paths:
            self._paths.append(f"{self._paths[-1]}/{name}")
        elif name == "feedback":
            self._paths.append(name)
        else:
            raise BadFile(f"it is no report of DMARC, but <{_clean(tag)}>")

    def characters(self, text: str) -> None:
        """Of an element."""
        if len(self._text) < _LONGEST:
            self._text += text[:_LONGEST]

    def end(self, _tag: str) -> None:
        """An element is complete."""
        path = self._paths.pop()
        ended = self._at_end.get(path)
        if ended is not None:
            ended()
        elif path in _KNOWN:
            # The first of several that should be one.
            (self._record if path.startswith(_RECORD) else self._facts).setdefault(path, self._text.strip())
        self._text = ""

    def _end_signer(self) -> None:
        domain = self._record.pop(f"{_SIGNER}/domain", "").lower()
        result = _word(self._record.pop(f"{_SIGNER}/result", ""))
        if _NAME.fullmatch(domain) and result and len(self._signers) < _MOST_NAMED:
            self._signers.append(f"{domain}={result}")

    def _end_reason(self) -> None:
        kind = _word(self._record.pop(f"{_REASON}/type", ""))
        if kind and len(self._reasons) < _MOST_NAMED:
            self._reasons.append(kind)

    def _end_record(self) -> None:
        record, signers, reasons = self._record, self._signers, self._reasons
        self._record, self._signers, self._reasons = {}, [], []

        def told(path: str) -> str:
            return record.get(f"{_RECORD}/{path}", "")

        count = _number(told("row/count"))
        evaluated = "row/policy_evaluated"
        row: _Row = (
            _address(told("row/source_ip")), _word(told(f"{evaluated}/disposition")), _word(told(f"{evaluated}/dkim")),
            _word(told(f"{evaluated}/spf")), _domain(told("identifiers/header_from")),
            _domain(told("auth_results/spf/domain") or told("identifiers/envelope_from")),
            _word(told("auth_results/spf/result")), tuple(signers), tuple(dict.fromkeys(reasons)),
        )  # fmt: skip
        if not count or not row[0]:
            return
        if row in self._rows or len(self._rows) < _MOST_ROWS:
            self._rows[row] = self._rows.get(row, 0) + count
        else:
            self._beyond += count
        self._totals["messages"] += count
        self._totals["failed"] += count if "pass" not in row[2:4] else 0
        self._totals["refused"] += count if row[1] == "reject" else 0
        self._totals["quarantined"] += count if row[1] == "quarantine" else 0

    def report(self) -> dict[str, Any]:
        """Of everything. Raises BadFile."""
        begins = _number(self._facts.get(f"{_ABOUT}/date_range/begin", ""))
        ends = _number(self._facts.get(f"{_ABOUT}/date_range/end", ""))
        domain = _domain(self._facts.get(f"{_POLICY}/domain", ""))
        if begins not in _MOMENTS or not domain:
            raise BadFile("it does not say of which domain it is, or of which time")
        if not self._rows:
            raise BadFile("it has no record of any message")
        rows = sorted(self._rows.items(), key=lambda item: (-item[1], item[0]))
        shown = [dict(zip(_FIELDS, row, strict=True)) | {"count": count} for row, count in rows[:_MOST_SHOWN]]
        return {
            "organisation": _clean(self._facts.get(f"{_ABOUT}/org_name", "")),
            "contact": _clean(self._facts.get(f"{_ABOUT}/email", "")),
            "id": _clean(self._facts.get(f"{_ABOUT}/report_id", "")),
            "domain": domain, "p": _word(self._facts.get(f"{_POLICY}/p", "")),
            "begins": begins, "ends": ends if ends in _MOMENTS and ends > begins else begins,
            "rows": shown, "left": sum(count for _, count in rows[_MOST_SHOWN:]) + self._beyond, **self._totals,
        }  # fmt: skip


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST].strip())


def _word(text: str) -> str:
    found = text.strip().lower()
    return found if _WORD.fullmatch(found) else ""


def _domain(text: str) -> str:
    found = text.strip().lower().rstrip(".").rpartition("@")[2]
    return found if _NAME.fullmatch(found) else ""


def _number(text: str) -> int:
    return int(text) if _COUNT.fullmatch(text) else 0


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return ""
