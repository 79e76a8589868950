"""How a message is made, whatever it says: marks for a classifier, a few dozen at most, each of a few possible values.

Programs write their fields in an order and a spelling of their own, and people write subjects, names and texts in ways
of their own. Amounts count by their order of magnitude. All is bounded by the caller's buffers and the limits below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

__all__ = ["author_style", "body_style", "field_style", "html_style", "recipient_style", "subject_style"]

_FIELDS = 60
_NAME = 40
#: Of the way it took and of the mailbox that it lay in: not there yet, or not there any more, where it is judged.
_ON_THE_WAY = re.compile(
    rb"received(?:-spf)?|return-path|(?:x-)?delivered-to|authentication-results|arc-.*|(?:x-)?status|x-keywords|x-uid.*"
    rb"|x-spam.*|x-mozilla.*|x-gmail.*|x-rspamd.*|delivery-date|envelope-to|x-original-to|lines|content-length"
)
_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_UPPER, _LOWER, _DIGITS = _LETTERS[:26], _LETTERS[26:], b"0123456789"
_NOT_LETTERS = bytes(set(range(256)) - set(_LETTERS))
_HIGH = bytes(range(128, 256))
#: Spaces, and then what makes each copy another one.
_TAIL = re.compile(rb" {5}\S+\Z")
_ANSWER = re.compile(rb"re(?:\[\d+\])?:", re.IGNORECASE)
_FORWARDED = re.compile(rb"fwd?:", re.IGNORECASE)
_NAMED = re.compile(rb"[\"\w]\s*<")
_LOOK = re.compile(
    r"""[\s"'](color|size|bgcolor|face|width)\s{0,3}=\s{0,3}["']?([^"'\s>]{1,20})""", re.IGNORECASE
)
_LOOKS = 200
_ENDS = {b"!": "!", b"?": "?"}
#: Octets of the body that are looked at, and letters of what counts as a line of capitals.
_BODY = 16 << 10
_LINE = 8


def field_style(buf: bytes, fields: Sequence[tuple[bytes, int, int]]) -> Iterator[str]:
    """The names of the fields as they are spelt, and which one follows which. `fields`: lower-case name, start, end."""
    own = [
        buf[start : start + min(len(name), _NAME)].decode("latin-1")
        for name, start, _ in islice(fields, _FIELDS)
        if not _ON_THE_WAY.fullmatch(name)
    ]
    yield from (f"field {name}" for name in own)
    yield from (f"field {one} {other}" for one, other in pairwise(own))


def subject_style(value: bytes) -> Iterator[str]:
    """How a subject is written: unfolded, as it was encoded."""
    value = value.strip()
    letters = value.translate(None, _NOT_LETTERS)
    if len(letters) > 5 and letters.isupper():
        yield "subject in capitals"
    if _TAIL.search(value):
        yield "subject with a tail"
    if value[-1:] in _ENDS:
        yield f"subject ends in {_ENDS[value[-1:]]}"
    if _ANSWER.match(value):
        yield "subject of an answer"
    elif _FORWARDED.match(value):
        yield "subject of a forwarded message"
    if b"=?" in value:
        yield "subject encoded"
    elif not value.isascii():
        yield "subject in raw octets"
    if not value:
        yield "subject empty"


def author_style(value: bytes, local: bytes) -> Iterator[str]:
    """How an author is named in From, and how the first address before its @ looks ("" when there is none)."""
    name = value.partition(local)[0].strip(b' <"') if local else value
    if not local:
        yield "author without an address"
        return
    yield "author named" if name else "author without a name"
    if value.lstrip()[:1] == b'"':
        yield "author in quotes"
    yield f"author digits {len(local) - len(local.translate(None, _DIGITS))}"
    if name and name.isupper():
        yield "author in capitals"


def recipient_style(value: bytes, author: bytes) -> Iterator[str]:
    """How many To names, and how, but not whom. `author`: the address in From."""
    yield f"to {_size(value.count(b'@'))}"
    if _NAMED.search(value):
        yield "to a name"
    if author and author in value:
        yield "to its author"


def html_style(source: str) -> Iterator[str]:
    """Colours, fonts and sizes of HTML."""
    for match in islice(_LOOK.finditer(source), _LOOKS):
        yield f"look {match[1].lower()} {match[2].lower()}"


def body_style(body: bytes, words: int, links: int) -> Iterator[str]:
    """How much of what there is in the body, as it is encoded, of which so many words and links were read."""
    yield f"octets {_size(len(body))}"
    yield f"words {_size(words)}"
    yield f"links {_size(links)}"
    body = body[:_BODY]
    upper, lower = (len(body) - len(body.translate(None, letters)) for letters in (_UPPER, _LOWER))
    yield f"capitals {10 * upper // (upper + lower + 1)}"
    yield f"exclamations {_size(body.count(b'!'))}"
    yield f"dollars {_size(body.count(b'$'))}"
    yield f"raw octets {_size(len(body) - len(body.translate(None, _HIGH)))}"
    lines = body.split(b"\n")
    yield f"longest line {_size(max(map(len, lines)))}"
    shouted = [line for line in lines if line.isupper() and len(line.translate(None, _NOT_LETTERS)) > _LINE]
    yield f"lines of capitals {_size(len(shouted))}"


def _size(count: int) -> int:
    """Its order of magnitude."""
    return count.bit_length()
