"""Normal forms: those of Unicode, a piece at a time."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime import normal
from mailserver.mime.casemap import casemap
from mailserver.mime.normal import normalized
from mailserver.mime.text import fold

_WORDS = st.lists(
    st.sampled_from(["a", " ", "u\u0308", "\u00fc", "\u1ebf", "e\u0302\u0301", "\u65e5", "\uac00", "x\ufb01"])
)


@given(_WORDS, st.sampled_from(["NFC", "NFKD"]), st.integers(1, 50))
def test_pieces_joined_are_the_whole(words: list[str], form: Literal["NFC", "NFKD"], times: int) -> None:
    text = "".join([*words, " "] * times)
    assert normalized(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("convert", [casemap, fold])
@pytest.mark.parametrize("text", ["a" + "\u0301\u0316" * 5_000, "\u0301" * 5_000, "\u65e5" * 5_000, "u\u0308 " * 5_000])
def test_no_piece_is_long(monkeypatch: pytest.MonkeyPatch, convert: object, text: str) -> None:
    """ATTACKS D02: the time for a piece grows with the square of its length."""
    lengths: list[int] = []

    class Counted:
        @staticmethod
        def normalize(form: Literal["NFC", "NFKD"], piece: str) -> str:
            lengths.append(len(piece))
            return unicodedata.normalize(form, piece)

    monkeypatch.setattr(normal, "unicodedata", Counted)
    convert(text)  # type: ignore[operator]
    assert max(lengths) <= 400 and sum(lengths) == len(text)
