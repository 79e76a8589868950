"""A report as a file, and the message that carries it (RFC 8460 §5.3, RFC 9990 §3.5.2)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailserver import api

__all__ = ["Document", "Form", "Heading", "make_document", "make_message"]

_DAY = 86400
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9.!_-]")
#: Lines in the part for people.
_MOST_TOLD = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a kind of report travels: the type of the file and of the message, the end of the file's name, words for
    people, and fields that the header has besides, in which {domain} and {submitter} are put in."""

    media_type: str
    multipart: str
    suffix: str
    title: str
    told: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """Whose report of which day it is (as 2026-11-20, UTC), and in whose name: `contact` is the address that it comes
    from. `id` and `file_name` follow from that, so that they are the same whenever it is made."""

    domain: str
    day: str
    contact: api.EmailAddress
    organisation: str

    @property
    def begins(self) -> int:
        """Epoch seconds."""
        return int(datetime.fromisoformat(self.day).replace(tzinfo=UTC).timestamp())

    @property
    def ends(self) -> int:
        """Its last second."""
        return self.begins + _DAY - 1

    @property
    def id(self) -> str:
        """A dot-atom on both sides (RFC 9990 §3.5.1)."""
        return f"{self.day}.{_NOT_IN_ID.sub('-', self.domain)}@{self.contact.domain}"

    def file_name(self, suffix: str) -> str:
        """RFC 8460 §5.1, RFC 9990 §3.5.2."""
        name = f"{self.contact.domain}!{self.domain}!{self.begins}!{self.ends}.{suffix}.gz"
        return _NOT_IN_NAME.sub("_", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """`octets` are packed with gzip; `summary` is for people."""

    heading: Heading
    form: Form
    octets: bytes
    summary: str


def make_document(heading: Heading, form: Form, content: bytes, lines: Sequence[str]) -> Document:
    """Of what a kind of report writes."""
    left = len(lines) - _MOST_TOLD
    shown = [*lines[:_MOST_TOLD], f"and {left} more"] if left > 0 else lines
    octets = gzip.compress(content, mtime=heading.begins)
    return Document(heading=heading, form=form, octets=octets, summary="\n".join(shown))


def make_message(
    document: Document, to: Sequence[api.EmailAddress], *, at: float, hostname: str, seed: str
) -> bytes:  # fmt: skip
    """A text for people, and the file for programs."""
    heading, form = document.heading, document.form
    submitter = heading.contact.domain
    text = (
        f"This is {form.title} from {submitter} about {heading.domain},\n"
        f"for {heading.day} (UTC): {form.told}.\n\n{document.summary}\n"
    )
    parts = [
        api.make_part("text/plain; charset=utf-8", "Summary", text.encode(), eight_bit=False),
        api.make_attachment(form.media_type, "Report", heading.file_name(form.suffix), document.octets),
    ]
    boundary, body = api.join_parts(parts, seed)
    header = [
        f"Date: {api.format_date(at)}",
        f"From: {api.phrase(heading.organisation)} <{heading.contact}>",
        f"To: {', '.join(f'<{address}>' for address in to)}",
        # The form of the subject, by which duplicates are known.
        f"Subject: Report Domain: {heading.domain}",
        f" Submitter: {submitter}",
        f" Report-ID: <{heading.id}>",
        f"Message-ID: <{seed}.report@{hostname}>",
        *(field.format(domain=heading.domain, submitter=submitter) for field in form.fields),
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: {form.multipart};\r\n boundary="{boundary}"',
    ]
    return "\r\n".join([*header, "", ""]).encode("ascii", "replace") + body
