"""Unicode's normal forms, in linear time.

`unicodedata.normalize` puts the marks of a letter in order one by one: for a hundred thousand of them, which a stranger
can send, it takes a minute, and everybody waits. So texts are normalized a piece at a time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

__all__ = ["normalized", "pieces"]

#: Up to the next ASCII character, as no mark belongs to the text before it; if there is none, anywhere.
_PIECE = re.compile(r".{1,200}[^\x00-\x7f]{0,200}+", re.DOTALL)
_LONGEST = 400
_ASCII = re.compile(r"[\x00-\x7f]")


def normalized(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """The text in this form. More than two hundred characters beyond ASCII in a row may be left as they came where a
    piece ends."""
    if len(text) <= _LONGEST:
        return unicodedata.normalize(form, text)
    return "".join([unicodedata.normalize(form, piece) for piece in _PIECE.findall(text)])


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in pieces of about this size: marks stay with their letter, but where there are hundreds in a row."""
    start = 0
    while start < len(text):
        found = _ASCII.search(text, start + size, start + size + _LONGEST)
        end = start + size if found is None else found.start()
        yield text[start:end]
        start = end
