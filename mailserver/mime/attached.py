"""One part of a message, by its media type: for mail that programs write to programs."""

from __future__ import annotations

from collections.abc import Collection

from mailserver.mime.structure import Part, parse
from mailserver.mime.text import decode_transfer

__all__ = ["find_part"]


def find_part(message: bytes, media_types: Collection[str]) -> tuple[str, bytes] | None:
    """The first part with one of these types (in lower case), and its octets; parts of messages within do not count."""
    waiting: list[Part] = [parse(message)]
    while waiting:
        part = waiting.pop()
        if not part.children and part.media_type in media_types:
            return part.media_type, decode_transfer(message[part.body : part.end], part.encoding)
        if not part.is_message:
            waiting += reversed(part.children)
    return None
