"""The one domain in whose name a message is written, as every program that shows it must see it (RFC 9989 §5.3.1).

What two programs could read in two ways has no author: several From fields or addresses, routes, groups, encoded words
and comments within an address, fields that only some take for From (ATTACKS L01, L02, D09, D10).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mailserver.mime.addresses import read_addresses
from mailserver.mime.headers import Field, field_value, fields, header_block_end, unfold
from mailserver.model.address import normalize_domain
from mailserver.model.errors import InvalidInput

__all__ = ["SoleAuthor", "from_author", "repeated_field", "sole_author"]

# What may stand before the colon: white space, and line ends that some program passes over.
_COLON = re.compile(rb"[ \t]*+((?:\r?\n[ \t]++)*+):")
#: RFC 5322 §3.6: one at most. A second one may have been put over a signed message; those that mislead most come first.
_ONCE = {
    name.lower().encode(): name for name in ("Subject", "Reply-To", "Sender", "Date", "To", "Cc")
}  # fmt: skip
_LONGEST = 64 << 10
_ENCODED = re.compile(rb"=\?[^?]*\?[BbQq]\?")
#: `Doe, John <john@example.org>`: no program finds another address in it than the last one, since nothing else has an
#: @, nor anything that could be decoded to one.
_CARELESS = re.compile(rb"([^<>]*+)<([A-Za-z0-9.!#$%&'*+/^_{|}~-]++)@([A-Za-z0-9.-]++)>[ \t]*+", re.DOTALL)
_PLAIN_MARKS = frozenset(" .,'-&/_+!#*")
_LDH = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")


class SoleAuthor(NamedTuple):
    """`domain` is in A-labels, or an address literal; "" when there is no author, and `fault` says why, to the one who
    sent the message. `careless`: the name before the address has a comma in it, and is not quoted."""

    domain: str
    fault: str = ""
    careless: bool = False


def sole_author(head: bytes) -> SoleAuthor:
    """Of the message that begins with `head`, which has the whole header; nobody where a field stands there twice."""
    author, twice = from_author(head), repeated_field(head)
    return SoleAuthor("", f"it has more than one {twice} field") if twice and not author.fault else author


def repeated_field(head: bytes, found: Sequence[Field] | None = None) -> str:
    """A field that may be there once, and is more often, so that one program shows the first and another the last.

    `found` are the fields of the header, if they are known.
    """
    once = [name for name, _, _ in (fields(head) if found is None else found) if name in _ONCE]
    if len(once) == len(set(once)):
        return ""
    return next(_ONCE[name] for name in _ONCE if once.count(name) > 1)


def from_author(head: bytes, found: Sequence[Field] | None = None) -> SoleAuthor:
    """As From says, whatever stands in other fields. `found` are the fields of the header, if they are known."""
    claims = _froms(head[: header_block_end(head)])
    if not claims:
        return SoleAuthor("", "it has no From field")
    spans = [(start, stop) for name, start, stop in (fields(head) if found is None else found) if name == b"from"]
    if len(claims) > 1 or len(spans) != 1 or any(claims):
        return SoleAuthor("", "it must have exactly one From field, in its plain form")
    return _read(unfold(field_value(head, *spans[0])))


def _froms(header: bytes) -> list[bytes]:
    """For each line that some program takes for the beginning of From, the line ends before its colon."""
    lowered = b"\n" + header.lower()
    found, at = [], lowered.find(b"\nfrom")
    while at >= 0:
        match = _COLON.match(lowered, at + 5)
        if match is not None:
            found.append(match[1])
        at = lowered.find(b"\nfrom", at + 5)
    return found


def _read(value: bytes) -> SoleAuthor:
    if len(value) > _LONGEST:
        return SoleAuthor("", "its From field is too long")
    entries, complete = read_addresses(value)
    if len(entries) != 1 and (author := _careless(value)) is not None:
        return author
    if len(entries) > 1 and complete and all(entry.is_mailbox for entry in entries):
        return SoleAuthor("", f"its From field has {len(entries)} addresses instead of one")
    if len(entries) != 1 or not complete or not entries[0].is_mailbox:
        return SoleAuthor("", "its From field has no address that can be read without doubt")
    _, route, mailbox, domain, _ = entries[0]
    mailbox, domain = mailbox or b"", domain or b""
    if route is not None or _ENCODED.search(mailbox) or _ENCODED.search(domain):
        return SoleAuthor("", "the address in its From field is written in an obsolete or encoded form")
    # A comment or a space between the parts of the address is passed over by some, and by others is its end.
    if not _stands_plainly(value, mailbox, domain):
        return SoleAuthor("", "the address in its From field has comments or spaces in it")
    normal = _normal(domain)
    return SoleAuthor(normal) if normal else SoleAuthor("", "the address in its From field has no valid domain")


def _careless(value: bytes) -> SoleAuthor | None:
    match = _CARELESS.fullmatch(value)
    domain = _normal(match[3]) if match is not None else ""
    try:
        name = match[1].decode() if match is not None else ""
    except UnicodeDecodeError:
        return None
    parts = name.split(",")
    if not domain or not all(part.strip() for part in parts):
        return None
    return SoleAuthor(domain, careless=True) if all(c.isalnum() or c in _PLAIN_MARKS for c in name) else None


def _stands_plainly(value: bytes, mailbox: bytes, domain: bytes) -> bool:
    quoted = b'"' + re.sub(rb'(["\\])', rb"\\\1", mailbox) + b'"'
    if b"<" not in value:
        # Alone, or with a name in a comment.
        return any(value.strip(b" \t").partition(b"(")[0].rstrip(b" \t,") == local + b"@" + domain
                   for local in (mailbox, quoted))  # fmt: skip
    inner = value[value.rindex(b"<") + 1 :].partition(b">")[0].strip(b" \t")
    return inner in (mailbox + b"@" + domain, quoted + b"@" + domain)


def _normal(domain: bytes) -> str:
    try:
        text = domain.decode()
    except UnicodeDecodeError:
        return ""
    try:
        return normalize_domain(text)
    except InvalidInput:
        # A-labels that only the older or only the newer IDNA knows are names in DNS all the same.
        lowered = text.lower()
        return lowered if text.isascii() and len(lowered) <= 253 and _LDH.fullmatch(lowered) else ""
