"""The first words of a message, as a list of messages shows them (RFC 8970 §3.3).

What the sender wrote comes first: quoted lines, the line that introduces them, and signatures are shown only when there
is nothing else. Encrypted text has no words (§3.2: the preview is empty). Only the beginning of a part is looked at,
and every step is linear in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailserver.mime.html_text import html_text
from mailserver.mime.structure import Message, Part, parse
from mailserver.mime.text import part_text

__all__ = ["PREVIEW_LENGTH", "preview"]

#: RFC 8970 §3.3: 200 characters are advised, 256 are the most.
PREVIEW_LENGTH = 200
#: Octets of a part that are looked at; HTML may begin with a long style sheet.
_PLAIN_SOURCE = 8 << 10
_HTML_SOURCE = 64 << 10
#: Characters of text that are enough to choose the preview from.
_ENOUGH = 600
#: Lines that may introduce a quotation: `On …, somebody <…>` may be wrapped.
_INTRODUCTION = 3

#: Characters without a shape of their own: controls, joiners, marks of direction, fillers that newsletters put behind
#: their first line so that nothing else is shown there.
_UNSEEN = (
    "\\x00-\\x08\\x0e-\\x1b\\x7f-\\x84\\x86-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b-\\u200f"
    "\\u202a-\\u202e\\u2060-\\u2064\\u2066-\\u2069\\u3164\\ufeff\\uffa0"
)
_UNSEEN_RUN = re.compile(f"(?: ?[{_UNSEEN}])++ ?")
_JOINERS = frozenset("\u200c\u200d")
# A rule drawn with characters.
_RULE = re.compile(r"([-=_*#~.+])\1{3,}+")
_MARKS = tuple(4 * mark for mark in "-=_*#~.+")
_BRACKETED_LINK = re.compile(r"<(?:https?://|mailto:)[^<>\s]*+>")
# The lines with which mail programs begin the message that is answered: `-----Original Message-----`, `________`.
_REPLY_LINE = re.compile(r"-{2,}+ ?\w[^-]{2,80}?\w ?-{2,}+|_{10,}+")
_ARMOR = re.compile(r"-----BEGIN PGP (?:MESSAGE|SIGNATURE)-----.*?(?:-----END PGP \w+-----|\Z)", re.DOTALL)
_ARMOR_HEAD = re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----\s*(?:\w+: [^\n]*\n)*")


def preview(buf: bytes, root: Message | None = None) -> str:
    """At most 200 characters on one line; "" when there is no text."""
    root = parse(buf) if root is None else root
    pages: list[Part] = []
    for part in _readable(root):
        if part.media_type == "text/html":
            pages.append(part)
            continue
        words = _shorten(_plain(part_text(buf, part, _PLAIN_SOURCE)))
        if words:
            return words
    for part in pages[:3]:
        own, quoted = html_text(part_text(buf, part, _HTML_SOURCE), _ENOUGH)
        words = _shorten((own, quoted))
        if words:
            return words
    return ""


def _readable(root: Message) -> Iterator[Part]:
    """Text parts that are not attached; those of messages within come last."""
    within: list[Part] = []
    inner: set[int] = set()
    for part in root.walk():
        if part.is_message or id(part) in inner:
            inner.update(id(child) for child in part.children)
        if part.children or part.media_type not in ("text/plain", "text/html"):
            continue
        if part.disposition is not None and part.disposition[0].lower() == b"attachment":
            continue
        if id(part) in inner:
            within.append(part)
        else:
            yield part
    yield from within


def _plain(text: str) -> tuple[str, str]:
    """The writer's own lines, and all the others."""
    text = _ARMOR_HEAD.sub("", _ARMOR.sub("", text)) if "-----BEGIN PGP" in text else text
    own: list[str] = []
    rest: list[str] = []
    octets = 0
    lines = text.split("\n")
    for at, line in enumerate(lines):
        line = line.rstrip()
        # RFC 3676 §4.3: the space behind it is often lost.
        begin = line.lstrip()
        if line == "--" or (begin.startswith(("--", "__")) and _REPLY_LINE.fullmatch(begin)):
            rest += lines[at + 1 :]
            break
        if begin.startswith(">") and line.lstrip(" \t").startswith(">"):
            rest += _introduction(own)
            rest.append(line.lstrip("> \t"))
            continue
        if line or (own and own[-1]):
            own.append(line)
        octets += len(line)
        if octets > _ENOUGH:
            break
    return "\n".join(own), "\n".join(rest)


def _introduction(own: list[str]) -> list[str]:
    """Take away the lines right above a quotation, if they introduce it: in any language they end with a colon."""
    end = len(own)
    if end and not own[-1]:
        end -= 1
    if not end or not own[end - 1].rstrip().endswith(":"):
        return []
    start = end
    while start and end - start < _INTRODUCTION and own[start - 1].strip():
        start -= 1
    if start and own[start - 1].strip():
        # More than an introduction: a paragraph that ends with a colon.
        start = end - 1
    taken = own[start:]
    del own[start:]
    return taken


def _shorten(texts: tuple[str, str]) -> str:
    """The first of these that has words."""
    for text in texts:
        words = tidy = " ".join(text[: 3 * _ENOUGH].split())
        if "<" in words:
            words = _BRACKETED_LINK.sub("", words)
        for mark in _MARKS:
            if mark in words:
                words = _RULE.sub("", words)
                break
        if not (words.isascii() and words.isprintable()):
            words = _UNSEEN_RUN.sub(_seen, words)
        if words is not tidy:
            words = " ".join(words.split())
        if any(map(str.isalnum, words)):
            return words[:PREVIEW_LENGTH].rstrip()
    return ""


def _seen(run: re.Match[str]) -> str:
    if " " in run[0]:
        return " "
    # Within a word one of them may matter: Persian, and emoji that are put together.
    return run[0] if run[0] in _JOINERS else ""
