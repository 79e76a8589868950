"""Does an answer say yes? People write in their own words and languages, and a mistake costs them mail for years.

So yes is what begins with such a word and holds no word against it, no is what begins with one of these, and everything
else is neither: who wrote it is asked for a plain YES.
"""

from __future__ import annotations

import re
from enum import Enum, auto

__all__ = ["Meaning", "meaning_of"]

#: Whole words, in lower case. What is also another word in a neighbouring language is left out ("si", "da").
_YES = frozenset(
    {
        "yes", "yep", "ok", "okay", "agree", "agreed", "confirm", "confirmed", "accept", "accepted", "ja",
        "jawohl", "einverstanden", "oui", "sí", "sì", "sim", "tak", "ano", "igen", "evet", "joo", "kyllä", "да",
        "так", "ναι", "はい", "是", "同意",
    }
)  # fmt: skip
#: What may stand before it.
_BEFORE = frozenset(("i", "we", "hi", "hello", "hallo"))
_NO = frozenset(
    {
        "no", "nope", "not", "don't", "dont", "never", "stop", "unsubscribe", "remove", "decline", "declined",
        "refuse", "reject", "spam", "nobody", "unwanted", "wrong", "nein", "nicht", "kein", "keine", "nie",
        "niemals", "non", "pas", "jamais", "não", "nunca", "nee", "niet", "geen", "nej", "ikke", "inte", "ne",
        "nem", "hayır", "ei", "нет", "не", "όχι", "いいえ", "不",
    }
)  # fmt: skip
#: Words that count. Behind them footers begin, which say what is "not intended".
_ENOUGH = 5
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


class Meaning(Enum):
    """What the beginning of an answer says."""

    YES = auto()
    NO = auto()
    UNCLEAR = auto()


def meaning_of(words: str) -> Meaning:
    """Of the first words that somebody wrote."""
    found = [word.lower().replace("’", "'") for word in _WORD.findall(words)]
    while found and found[0] in _BEFORE:
        found.pop(0)
    del found[_ENOUGH:]
    if not found:
        return Meaning.UNCLEAR
    agrees, refuses = not _YES.isdisjoint(found), not _NO.isdisjoint(found)
    if found[0] in _YES and not refuses:
        return Meaning.YES
    return Meaning.NO if found[0] in _NO and not agrees else Meaning.UNCLEAR
