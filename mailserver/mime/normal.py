"""Unicode's normal forms, in linear time.

`unicodedata.normalize` puts the marks of a letter in order one by one: for a hundred thousand of them, which a stranger
can send, it takes a minute, and everybody waits. So texts are normalized a piece at a time.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

__all__ = ["normalized"]

#: Up to the next ASCII character, as no mark belongs to the text before it; if there is none, anywhere.
_PIECE = re.compile(r".{1,200}[^\x00-\x7f]{0,200}+", re.DOTALL)
_LONGEST = 400


def normalized(form: Literal["NFC", "NFKD"], text: str) -> str:
    """The text in this form. More than two hundred characters beyond ASCII in a row may be left as they came where a
    piece ends."""
    if len(text) <= _LONGEST:
        return unicodedata.normalize(form, text)
    return "".join([unicodedata.normalize(form, piece) for piece in _PIECE.findall(text)])
