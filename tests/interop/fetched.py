"""What a FETCH response says of a message, as values that can be compared; and which sections a message has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mailserver.mime.headers import fields, header_block_end, select
from mailserver.mime.structure import Message, Part

__all__ = ["fold", "parse_list", "responses", "sections"]

_TOKEN = re.compile(rb'\(|\)|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|((?:[^\s()"\[]|\[[^\]]*\](?:<\d+>)?)+)| ')
_FETCHED = re.compile(rb"(?:^|\r\n)\* (\d+) FETCH ")
_FIELDS = (b"subject", b"from", b"content-type", b"x-none")


def parse_list(buf: bytes, pos: int) -> tuple[list[Any], int]:
    """A parenthesised list of strings, atoms and lists: quoted and literal strings are the same."""
    stack: list[list[Any]] = [[]]
    while True:
        match = _TOKEN.match(buf, pos)
        assert match is not None, buf[pos : pos + 100]
        pos, token = match.end(), match[0]
        if token == b"(":
            stack.append([])
        elif token == b")":
            done = stack.pop()
            stack[-1].append(done)
            if len(stack) == 1:
                return done, pos
        elif match[2] is not None:
            size = int(match[2])
            stack[-1].append(buf[pos : pos + size])
            pos += size
        elif token[:1] == b'"':
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match[1]))
        elif match[3] is not None:
            stack[-1].append(None if token == b"NIL" else token.decode("ascii"))


def responses(out: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number, and item → value, of every FETCH response in what a server sent."""
    pos = 0
    while (match := _FETCHED.search(out, pos)) is not None:
        values, pos = parse_list(out, match.end())
        yield int(match[1]), dict(zip(values[::2], values[1::2], strict=True))


def fold(value: Any) -> Any:
    """In lower case: media types, charsets and encodings have no case (RFC 2045 §5.1, §6.1)."""
    if isinstance(value, list):
        return [fold(item) for item in value]
    return value.lower() if isinstance(value, bytes | str) else value


def sections(message: bytes, root: Message) -> dict[str, bytes]:
    """Every section of a message, as the engine cuts it out."""
    names = " ".join(name.decode().upper() for name in _FIELDS)
    end = header_block_end(message)
    facts = {
        "BODY[HEADER]": message[:end],
        "BODY[TEXT]": message[end:],
        f"BODY[HEADER.FIELDS ({names})]": select(message, fields(message), _FIELDS) + b"\r\n",
    }
    for numbers, part in numbered(root):
        path = ".".join(map(str, numbers))
        assert root.find(numbers) is part
        facts[f"BODY[{path}]"] = message[part.body : part.end]
        facts[f"BODY[{path}.MIME]"] = message[part.start : part.body]
        if part.is_message and part.children:
            inner = part.children[0]
            facts[f"BODY[{path}.HEADER]"] = message[inner.start : inner.body]
            facts[f"BODY[{path}.TEXT]"] = message[inner.body : inner.end]
    return facts


def numbered(root: Message) -> Iterator[tuple[tuple[int, ...], Part]]:
    """Every part that has a number, with it (RFC 9051 §6.4.5.1)."""
    waiting: list[tuple[tuple[int, ...], Part]] = [((), root)]
    while waiting:
        numbers, part = waiting.pop()
        holder = part.children[0] if part.is_message and numbers and part.children else part
        if holder.is_multipart:
            waiting += [((*numbers, n), child) for n, child in enumerate(holder.children, 1)]
        elif holder is not part or not numbers:
            waiting.append(((*numbers, 1), holder))
        if numbers:
            yield numbers, part
