"""Reports of other servers about mail that could not be delivered (RFC 3464; what came before it as far as it goes).

Read are: multipart/report, whole or broken; X-Failed-Recipients (Exim); qmail's format (QSBMF); and any text that has a
copy of the message in it or behind it. Nothing raises; at most `MAX_OCTETS` are looked at, in linear time. A report is
what a stranger says: who acts upon it must know that it speaks of a message of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailserver.mime.headers import field_value, fields, header_block_end, unfold, value
from mailserver.mime.structure import Part, parse
from mailserver.mime.text import decode_transfer, part_text

__all__ = ["MAX_OCTETS", "DeliveryStatus", "ReportedAddress", "read_report"]

MAX_OCTETS = 256 << 10
_MAX_RECIPIENTS = 1000
_MAX_TEXT = 64 << 10
_LONGEST = 1000

_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_RETURNED_TYPES = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
# A status code in running text, and no piece of an IP address or of a version.
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
# Lines behind which servers put a copy of the message, or of its header.
_COPY = re.compile(
    r"^[ \t>*-]*(?:below this line is a copy of the message|this is a copy of (?:the|your) message|"
    r"original message (?:follows|headers?)|message headers? follows?|returned message follows)",
    re.IGNORECASE | re.MULTILINE,
)
_QMAIL_ADDRESS = re.compile(r"<([^<>\s]{3,400})>:")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedAddress:
    """One recipient: addresses as they stand there ("" when unknown), `action` and `status` of RFC 3464 §2.3, and what
    the server said, on one printable line."""

    final: str = ""
    original: str = ""
    action: str
    status: str = ""
    remote: str = ""
    diagnostic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """`header` is the header of the message that the report is about, b"" when it has none of it."""

    recipients: tuple[ReportedAddress, ...]
    header: bytes = b""
    envelope_id: str = ""
    reporter: str = ""


def read_report(message: bytes) -> DeliveryStatus | None:
    """What a message reports; None when it is no report."""
    buf = message[:MAX_OCTETS]
    root = parse(buf)
    status: Part | None = None
    returned: Part | None = None
    text: Part | None = None
    for part in _own_parts(root):
        kind = part.media_type
        if kind in _STATUS_TYPES:
            status = status or part
        elif kind in _RETURNED_TYPES:
            returned = returned or part
        elif kind.startswith("text/plain"):
            text = text or part
    header = b"" if returned is None else _header(buf, returned)
    if status is not None:
        return _standard(decode_transfer(buf[status.body : status.end], status.encoding), header)
    return _free(buf, "" if text is None else part_text(buf, text, _MAX_TEXT), header)


def _own_parts(root: Part) -> Iterator[Part]:
    """The parts of the message itself, not those of a message within."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        if not part.is_message:
            waiting += reversed(part.children)


def _header(buf: bytes, part: Part) -> bytes:
    octets = decode_transfer(buf[part.body : part.end], part.encoding)
    return octets[: header_block_end(octets)]


def _standard(body: bytes, header: bytes) -> DeliveryStatus:
    groups = [_fields(group) for group in body.replace(b"\r\n", b"\n").split(b"\n\n", _MAX_RECIPIENTS + 1)]
    of_message: dict[str, str] = {}
    found = []
    for group in groups[: _MAX_RECIPIENTS + 1]:
        if "final-recipient" in group or "action" in group:
            found.append(_recipient(group))
        else:
            of_message = group | of_message
    return DeliveryStatus(
        recipients=tuple(found),
        header=header,
        envelope_id=of_message.get("original-envelope-id", ""),
        reporter=_untyped(of_message.get("reporting-mta", "")),
    )


def _fields(group: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    octets = group.lstrip(b"\n")
    for name, start, end in fields(octets):
        raw = unfold(field_value(octets, start, end)).strip(b" \t")
        found.setdefault(name.decode("latin-1"), _line(raw.decode("utf-8", "replace")))
    return found


def _recipient(group: dict[str, str]) -> ReportedAddress:
    diagnostic = _untyped(group.get("diagnostic-code", ""))
    return ReportedAddress(
        final=_address(group.get("final-recipient", "")),
        original=_address(group.get("original-recipient", "")),
        action=group.get("action", "").partition(" ")[0].lower(),
        status=_status(group.get("status", ""), diagnostic),
        remote=_untyped(group.get("remote-mta", "")),
        diagnostic=diagnostic,
    )


def _status(field: str, diagnostic: str) -> str:
    """The field's, unless it says nothing and the server's words say more (Exim)."""
    given, said = _STATUS.match(field), _STATUS.search(diagnostic)
    if said is not None and (given is None or given[1] == f"{said[1][0]}.0.0"):
        return said[1]
    return given[1] if given is not None else ""


def _free(buf: bytes, text: str, header: bytes) -> DeliveryStatus | None:
    copy = _COPY.search(text)
    explanation = text[: copy.start()] if copy else text
    if copy and not header:
        behind = text[copy.end() :].partition("\n")[2].lstrip("\r\n").encode()
        header = behind[: header_block_end(behind)]
    failed = value(buf, b"x-failed-recipients")
    if failed is not None:
        names = [name.strip(" \t") for name in failed.decode("utf-8", "replace").split(",", _MAX_RECIPIENTS)]
        said = {_address(name): explanation for name in names[:_MAX_RECIPIENTS] if name}
    elif "qmail-send" in explanation or "QSBMF" in explanation:
        said = dict(_qmail(explanation))
    elif header and _STATUS.search(explanation):
        said = {"": explanation}
    else:
        return None
    return DeliveryStatus(recipients=tuple(_told(name, words) for name, words in said.items()), header=header)


def _qmail(text: str) -> Iterator[tuple[str, str]]:
    """Paragraphs that begin with an address (QSBMF: `<address>:`, then the reason)."""
    for paragraph in text.replace("\r\n", "\n").split("\n\n")[:_MAX_RECIPIENTS]:
        match = _QMAIL_ADDRESS.match(paragraph.lstrip("\n"))
        if match is not None:
            yield match[1], paragraph.partition(":")[2]


def _told(name: str, words: str) -> ReportedAddress:
    codes = _STATUS.findall(words)
    status = next((code for code in codes if code[0] == "5"), codes[0] if codes else "")
    action = "delayed" if status.startswith("4") else "failed"
    return ReportedAddress(final=_line(name), action=action, status=status, diagnostic=_line(words))


def _untyped(text: str) -> str:
    """What follows `type;`."""
    before, semicolon, after = text.partition(";")
    return after.strip(" \t") if semicolon and len(before) <= 40 else text


def _address(text: str) -> str:
    address = _untyped(text)
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def _line(text: str) -> str:
    one = " ".join(text[: _LONGEST * 2].split())[:_LONGEST]
    return one if one.isprintable() else "".join(c if c.isprintable() else "?" for c in one)
