"""BODY and BODYSTRUCTURE (RFC 9051 §7.5.2), written without recursion."""

from __future__ import annotations

from mailserver.mime.envelope import envelope_of, read_fields
from mailserver.mime.params import Parameters
from mailserver.mime.quote import nstring, string
from mailserver.mime.structure import Part

__all__ = ["body_structures"]

_US_ASCII = b'"charset" "us-ascii"'
# A multipart without parts cannot be written (§9 body-type-mpart); this stands for the part that it lacks.
_NO_PART = b'("text" "plain" (' + _US_ASCII + b') NIL NIL "7bit" 0 0'


def body_structures(buf: bytes, part: Part) -> tuple[bytes, bytes]:
    """BODY and BODYSTRUCTURE of a part of the message `buf`."""
    basic: list[bytes] = []
    extended: list[bytes] = []
    # What is still to be written: a part, or the ends of one whose children are being written.
    waiting: list[Part | tuple[bytes, bytes]] = [part]
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple):
            basic.append(item[0])
            extended += item
            continue
        head, tail, extension = _multipart(item) if item.is_multipart else _single(buf, item)
        basic.append(head)
        extended.append(head)
        if item.is_multipart and not item.children:
            basic.append(_NO_PART + b")")
            extended.append(_NO_PART + b" NIL NIL NIL NIL)")
        waiting.append((b")", b""))
        waiting.append((tail, extension))
        waiting += reversed(item.children)
    return b"".join(basic), b"".join(extended)


def _multipart(part: Part) -> tuple[bytes, bytes, bytes]:
    extension = b" %b %b" % (_params(part.params), _common(part))
    return b"(", b" " + string(part.subtype), extension


def _single(buf: bytes, part: Part) -> tuple[bytes, bytes, bytes]:
    params = part.params
    is_text = False
    if part.is_message:
        media = b'"message" "rfc822"'
    elif part.type is None:
        is_text, media = True, b'"text" "plain"'
    else:
        is_text = part.type.lower() == b"text"
        media = string(part.type) + b" " + string(part.subtype)
    head = b"(%b %b %b %b %b %d" % (
        media,
        _params(params, charset=is_text),
        nstring(part.content_id),
        nstring(part.description),
        b'"7bit"' if part.encoding is None else string(part.encoding),
        part.end - part.body,
    )
    tail = b""
    if is_text:
        head += b" %d" % buf.count(b"\n", part.body, part.end)
    elif part.is_message:
        inner = part.children[0] if part.children else None
        head += b" %b " % envelope_of(read_fields(buf, inner.fields if inner else ()))
        if inner is None:
            head += _NO_PART + b")"
        tail = b" %d" % buf.count(b"\n", part.body, part.end)
    return head, tail, b" %b %b" % (nstring(part.md5), _common(part))


def _common(part: Part) -> bytes:
    """Disposition, language and location."""
    disposition = b"NIL"
    if part.disposition is not None:
        kind, params = part.disposition
        disposition = b"(%b %b)" % (string(kind), _params(params))
    language = b"(%b)" % b" ".join(map(string, part.language)) if part.language else b"NIL"
    return b"%b %b %b" % (disposition, language, nstring(part.location))


def _params(params: Parameters, *, charset: bool = False) -> bytes:
    """A parameter list; `charset`: with the default of RFC 2045 §5.2 where it names none."""
    if not params:
        return b"(" + _US_ASCII + b")" if charset else b"NIL"
    out = [b"%b %b" % (string(name), string(text)) for name, text in params]
    if charset and all(name.lower() != b"charset" for name, _ in params):
        out.append(_US_ASCII)
    return b"(%b)" % b" ".join(out)
