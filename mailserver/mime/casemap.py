"""The collation i;unicode-casemap (RFC 5051 §2): texts that differ in case or in the form of a letter are equal.

`casemap` gives a key: equality, order and substrings of keys, octet by octet, are those of the collation.
"""

from __future__ import annotations

from mailserver.mime.normal import normalized

__all__ = ["casemap"]


class _Titles(dict[int, str]):
    """Titlecase of characters, one for one as in UnicodeData.txt: `ß` has none there, whatever SpecialCasing says."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        title = character.title()
        self[code] = title = title if len(title) == 1 else character
        return title


_TITLES = _Titles()


def casemap(text: str) -> bytes:
    """The key of a text."""
    if text.isascii():
        return text.upper().encode("ascii")
    return normalized("NFKD", text.translate(_TITLES)).encode("utf-8", "surrogatepass")
