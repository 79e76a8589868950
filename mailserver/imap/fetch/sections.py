"""Parts of messages as FETCH names them (RFC 9051 §6.4.5.1): where they are, and what goes out for them.

A section is either a range of the message, which can be read and sent by pieces, or octets that had to be put together
(some header fields, a decoded body). None is a section that the message does not have: NIL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from mailserver.mime.headers import fields, header_block_end, select
from mailserver.mime.structure import Message, Part, parse
from mailserver.mime.text import decode_transfer
from mailserver.model.errors import MailError
from mailserver.wire.imap.fetch_items import BinarySection, BinarySize, BodySection, SectionText

__all__ = [
    "MANY_FIELDS", "Located", "SectionItem", "UnknownEncoding", "field_filter", "locate_all", "opened", "render",
    "value_of",
]  # fmt: skip

SectionItem = BodySection | BinarySection | BinarySize
#: A range of the message (start, end), octets, or None for NIL.
Located = tuple[int, int] | bytes | None

#: Names for which there is no pattern.
MANY_FIELDS = 32
_ENCODINGS = (b"7bit", b"8bit", b"binary", b"quoted-printable", b"base64")


class UnknownEncoding(MailError):
    """BINARY of a part whose transfer encoding is unknown to us (RFC 9051 §7.1 UNKNOWN-CTE)."""


def locate_all(data: bytes, items: Sequence[SectionItem]) -> list[Located]:
    """Every section of one message. The structure is looked for only when a section needs it."""
    message = parse(data) if any(item.part for item in items) else None
    return [_locate(data, message, item) for item in items]


def _locate(data: bytes, message: Message | None, item: SectionItem) -> Located:
    """One section, without regard to `partial`. `message` may be None for sections of the whole message.

    Raises:
        UnknownEncoding: BINARY of a part that cannot be decoded.
    """
    if not item.part or message is None:
        if isinstance(item, BodySection) and item.text is not None:
            return _of_message(data, 0, header_block_end(data), len(data), item)
        return 0, len(data)
    part = message.find(item.part)
    if part is None:
        return None
    if not isinstance(item, BodySection):
        return _decoded(data, part)
    if item.text is None:
        return part.body, part.end
    if item.text is SectionText.MIME:
        return part.start, part.body
    if not part.is_message or not part.children:
        # HEADER and TEXT are those of a message/rfc822 part only.
        return None
    inner = part.children[0]
    return _of_message(data, inner.start, inner.body, inner.end, item)


def _of_message(data: bytes, start: int, body: int, end: int, item: BodySection) -> Located:
    if item.text is SectionText.TEXT:
        return body, end
    if item.text is SectionText.HEADER:
        return start, body
    return field_filter(item.fields, inverse=item.text is SectionText.HEADER_FIELDS_NOT)(data[start:body])


def value_of(data: bytes, located: Located) -> bytes | None:
    """The octets of a section."""
    return data[located[0] : located[1]] if isinstance(located, tuple) else located


def render(item: SectionItem, value: bytes | None) -> bytes:
    """What stands behind the item's name in the response; `partial` is applied here."""
    return b"".join(opened(item, value))


def opened(item: SectionItem, value: bytes | None) -> tuple[bytes, bytes]:
    """The same in two: what comes before the octets, and the octets, not copied when they go out as they are."""
    if isinstance(item, BinarySize):
        return b"%d" % len(value or b""), b""
    if value is None:
        return b"NIL", b""
    if item.partial is not None:
        start, size = item.partial
        value = value[start : start + size]
    if b"\0" in value:
        if isinstance(item, BinarySection):
            return b"~{%d}\r\n" % len(value), value
        # RFC 9051 §4.3.1: NUL has no place in a literal; with another octet in its place all sizes stay true.
        value = value.replace(b"\0", b"\x80")
    return b"{%d}\r\n" % len(value), value


@lru_cache(maxsize=64)
def field_filter(names: tuple[str, ...], *, inverse: bool = False) -> Callable[[bytes], bytes]:
    """A function from a header block to those of its fields, with the empty line behind them (HEADER.FIELDS, and .NOT).

    `names` are in lower case. Few names become one pattern, which costs microseconds a message; ten thousand would take
    long to compile, and are looked up instead.
    """
    wanted = frozenset(name.encode("utf-8", "replace") for name in names)
    if len(names) <= MANY_FIELDS and not inverse:
        either = b"|".join(re.escape(name) for name in sorted(wanted))
        # It begins with an octet of its own, which is looked for at the speed of memory.
        pattern = re.compile(rb"\n((?i:%b)[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+)" % either)

        def matched(block: bytes) -> bytes:
            if not block.endswith(b"\n"):
                # The last line of a message may have no end.
                return b"".join([block[m.start() : m.end()] for m in pattern.finditer(b"\n" + block)]) + b"\r\n"
            found = pattern.findall(b"\n" + block)
            return b"\n".join(found) + b"\n\r\n" if found else b"\r\n"

        return matched

    def chosen(block: bytes) -> bytes:
        found = fields(block)
        return select(block, found, {name for name, _, _ in found} - wanted if inverse else wanted) + b"\r\n"

    return chosen


def _decoded(data: bytes, part: Part) -> Located:
    """The body of a part without its transfer encoding (RFC 3516 §4.3)."""
    if part.is_multipart or part.is_message:
        return part.body, part.end
    if (part.encoding or b"7bit").lower() not in _ENCODINGS:
        raise UnknownEncoding("the transfer encoding of this part is unknown")
    body = data[part.body : part.end]
    decoded = decode_transfer(body, part.encoding)
    return (part.body, part.end) if decoded is body else decoded
