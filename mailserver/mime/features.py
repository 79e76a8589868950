"""What a message is told by, for a classifier: its words in the order of reading, and marks of how it is made.

One pass over what is bounded beforehand: octets of text, words, parts, links, fields. Text that HTML hides gives no
words, but its links count. Of dates, and of the addresses that a message goes to, nothing is taken: they say when it
came and to whom. Nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from mailserver.mime.feature_style import (
    author_style,
    body_style,
    field_style,
    html_style,
    recipient_style,
    subject_style,
)
from mailserver.mime.headers import field_value, unfold
from mailserver.mime.html_text import html_text
from mailserver.mime.normal import normalized
from mailserver.mime.structure import Part
from mailserver.mime.view import MessageView
from mailserver.mime.words import decode_words

__all__ = ["Features", "features"]

#: Octets of the message within which texts are read. Of those, octets of text parts, as they are encoded, and
#: characters of what is read of one of them.
_READ = 256 << 10
_SOURCE = 128 << 10
_PART_SOURCE = 64 << 10
_TEXT = 32 << 10
#: Words of all text parts, and of one header field.
_WORDS = 3000
_FIELD_WORDS = 60
_FIELD = 2000
_PARTS = 40
_LINKS = 60
_LINK_WORDS = 6
_HOPS = 4
_LONGEST = 24

# Ideographs and syllables have no spaces between words, so each stands alone and its neighbours say the rest.
_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_WIDE}]|(?:[^\W_{_WIDE}]|[$€£%])(?:[^\W{_WIDE}]|[!%]|['’$€£-](?=[\w!$%]))*+")
_ASCII_WORD = re.compile(r"[a-z0-9$%](?:[a-z0-9_!%]|['$-](?=[a-z0-9_!$%]))*+")
#: Characters without a shape, put into words so that they are not recognised.
_UNSEEN = re.compile("[\u00ad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")
# It begins with what is looked for fastest; the scheme before it is looked at then.
_LINK = re.compile(
    r"""://(?:(?<=http://)|(?<=https://)|(?<=ftp://))(?:[^\s"'<>/@]{0,80}@)?+([\w.-]{1,120})([^\s"'<>]{0,120})""",
    re.IGNORECASE,
)
_MAILTO = re.compile(r"""mailto:[^\s"'<>@]{1,80}@([\w.-]{1,120})""", re.IGNORECASE)
_ADDRESS = re.compile(rb"([^\s<>\"@,;:()]{1,80})@([A-Za-z0-9.-]{1,120})")
_RECEIVED_FROM = re.compile(rb"[ \t]*+from[ \t]++([A-Za-z0-9._-]{1,120}+)", re.IGNORECASE)
_IPV4 = re.compile(rb"\[(\d{1,3}\.\d{1,3})(\.\d{1,3})\.\d{1,3}\]")
_IPV6 = re.compile(rb"\[IPv6:([0-9a-f]{1,4}:[0-9a-f]{1,4}):", re.IGNORECASE)
_TOKEN = re.compile(r"[a-z][a-z0-9.+_-]{1,40}")
_SHAPE = re.compile(rb"([0-9]+)|([a-z]+)|[A-Z]+")
#: What programs say of themselves.
_PROGRAM = frozenset({b"x-mailer", b"user-agent", b"x-mimeole"})
#: Fields of which it counts that they are there.
_PRESENT = frozenset(
    b"in-reply-to references list-unsubscribe list-unsubscribe-post auto-submitted dkim-signature x-priority"
    b" x-msmail-priority organization feedback-id mime-version message-id date cc to".split()
)
_EXPECTED = ("message-id", "date", "to")
#: Fields of which the first one counts.
_READ_ONCE = frozenset({b"subject", b"from", b"to"})


@dataclass(frozen=True, slots=True)
class Features:
    """`texts`: words by where they stand ("subject", "from", and "" for the body), each list in the order of reading.
    `marks`: all else that it says, such as `link example.org`. `style`: how it is made (`feature_style.py`)."""

    texts: tuple[tuple[str, list[str]], ...]
    marks: frozenset[str]
    style: frozenset[str] = frozenset()


def features(message: MessageView | bytes, hop: bytes = b"") -> Features:
    """The features of a message: at most some 3,200 words, 1,200 marks, and 350 of style.

    Args:
        hop: the value of the Received field that it will have, as far as `_hop` reads one.
    """
    view = MessageView.of(message) if isinstance(message, bytes) else message
    marks, style = set(_hop(hop)), set(field_style(view.head, view.fields))
    subject, author = _header(view, marks, style, _HOPS - 1 if hop else _HOPS)
    body = _body(view, marks, style)
    return Features((("subject", subject), ("from", author), ("", body)), frozenset(marks), frozenset(style))


# -- header ------------------------------------------------------------------------------------------------------------


def _header(view: MessageView, marks: set[str], style: set[str], hops: int) -> tuple[list[str], list[str]]:
    """The words of the subject and of the author's name."""
    buf = view.head
    first: dict[bytes, bytes] = {}
    for name, start, end in view.fields:
        if name in _PRESENT:
            marks.add(f"has {name.decode()}")
        if name in _READ_ONCE:
            if name not in first:
                first[name] = _value(buf, start, end)
        elif name == b"received":
            if hops > 0:
                hops -= 1
                marks.update(_hop(_value(buf, start, end)))
        elif name in _MARKS:
            marks.update(_MARKS[name](_value(buf, start, end)))
    marks.update(f"without {name}" for name in _EXPECTED if f"has {name}" not in marks)
    subject, author = first.get(b"subject", b""), first.get(b"from", b"")
    address = _ADDRESS.search(author)
    style.update(subject_style(subject))
    style.update(author_style(author, address[1] if address else b""))
    style.update(recipient_style(first.get(b"to", b""), address[0] if address else b""))
    return _words(decode_words(subject), _FIELD_WORDS), _author(author, marks)


def _value(buf: bytes, start: int, end: int) -> bytes:
    return unfold(field_value(buf, start, min(end, start + _FIELD)))


def _addresses(value: bytes) -> list[tuple[str, str]]:
    found = islice(_ADDRESS.finditer(value), 5)
    return [(match[1].decode("latin-1").lower(), match[2].decode().lower()) for match in found]


def _author(value: bytes, marks: set[str]) -> list[str]:
    for local, host in _addresses(value):
        marks.add(f"from {local}@{host}")
        marks.update(f"from {name}" for name in _domains(host))
    return _words(decode_words(_ADDRESS.sub(b" ", value)), _FIELD_WORDS)


def _domains(host: str) -> list[str]:
    """The host, and the domain that it is likely to be of."""
    labels = host.strip(".").split(".")
    return [".".join(labels[-4:]), ".".join(labels[-2:])] if len(labels) > 2 else [".".join(labels)]


def _hop(value: bytes) -> Iterator[str]:
    """Whom a server had it from, as far as it is the same for many messages: domains and networks."""
    match = _RECEIVED_FROM.match(value)
    if match is not None:
        yield from (f"relay {name}" for name in _domains(match[1].decode().lower()))
    for match in islice(_IPV4.finditer(value), 2):
        yield f"relay {match[1].decode()}"
        yield f"relay {(match[1] + match[2]).decode()}"
    match = _IPV6.search(value)
    if match is not None:
        yield f"relay {match[1].decode().lower()}"


def _reply_to(value: bytes) -> list[str]:
    return [f"reply-to {host}" for _, host in _addresses(value)]


def _program(value: bytes) -> list[str]:
    return [f"program {word}" for word in islice(_TOKEN.findall(value[:200].decode("latin-1").lower()), 12)]


def _list(value: bytes) -> list[str]:
    return ["list " + value[-60:].decode("latin-1").lower()]


def _id(value: bytes) -> list[str]:
    return ["id " + _shape(value.partition(b"@")[0])]


def _shape(value: bytes) -> str:
    """What kinds of characters follow one another: how a program makes its ids."""
    kinds = _SHAPE.sub(lambda match: b"9" if match[1] else b"a" if match[2] else b"A", value[:80])
    return kinds[:30].decode("latin-1")


_MARKS = {b"reply-to": _reply_to, b"list-id": _list, b"message-id": _id, **dict.fromkeys(_PROGRAM, _program)}


# -- body --------------------------------------------------------------------------------------------------------------


def _body(view: MessageView, marks: set[str], style: set[str]) -> list[str]:
    words: list[str] = []
    links: set[str] = set()
    room = _SOURCE
    for part in islice(view.structure.walk(), _PARTS):
        kind = part.media_type[:60]
        marks.update(_made(part, kind))
        limit = min(room, _PART_SOURCE, _READ - part.body)
        if kind.startswith("text/") and not part.children and limit > 0 and len(words) < _WORDS:
            text = view.text(part, limit)
            room -= part.end - part.body
            _links(text, links, marks)
            if kind == "text/html":
                style.update(html_style(text[:_TEXT]))
                own, quoted = html_text(text, _TEXT)
                text = f"{own}\n{quoted}"
            words += _words(text, _WORDS - len(words))
    style.update(body_style(view.head[view.header_size : _READ], len(words), len(links)))
    return words


def _made(part: Part, kind: str) -> Iterator[str]:
    """How a part is made."""
    yield f"part {kind}"
    if part.boundary is not None:
        yield "boundary " + _shape(part.boundary)
    if part.is_multipart or part.is_message:
        return
    if part.encoding:
        yield f"part {kind} {part.encoding[:20].decode('latin-1').lower()}"
    name = part.file_name
    if name is not None:
        yield "file " + name.rpartition(".")[2][-8:].lower()
    if kind.startswith("text/"):
        yield "charset " + part.charset[:20].decode("latin-1").lower()


def _links(text: str, links: set[str], marks: set[str]) -> None:
    """Where links lead: hosts with their domains, words of paths."""
    for scheme, match in _found_links(text):
        if len(links) >= _LINKS:
            return
        link = scheme + match[0].lower()
        if link in links:
            continue
        links.add(link)
        host = match[1].lower()
        marks.update(f"link {name}" for name in _domains(host))
        if host.replace(".", "").isdigit():
            marks.add("link to an address")
        if scheme:
            marks.update(f"link word {word}" for word in islice(_TOKEN.findall(match[2].lower()), _LINK_WORDS))


def _found_links(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Links with the end of their scheme, "" for addresses of mail."""
    for match in _LINK.finditer(text):
        yield text[match.start() - 1].lower(), match
    if "mailto:" in text.lower():
        for match in _MAILTO.finditer(text):
            yield "", match


def _words(text: str, most: int) -> list[str]:
    text = text[:_TEXT]
    if text.isascii():
        found = _ASCII_WORD.findall(text.lower())
    else:
        found = _WORD.findall(normalized("NFKC", _UNSEEN.sub("", text)).lower())
    return [word if len(word) <= _LONGEST else _short(word) for word in found[:most]]


def _short(word: str) -> str:
    # What is longer is seldom there twice: that it is there, and how it begins, is what it says.
    return f"{word[:2]}… {len(word) // 10}"
