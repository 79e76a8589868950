from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.xtext import decode_unitext, decode_xtext, encode_unitext, encode_xtext


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("QQ314159", "QQ314159"), ("a+2Bb+3Dc", "a+b=c"), ("", ""), ("a+20b", "a b"),
        ("a+0D+0Ab", None), ("a+00", None), ("a+C3+A4", None), ("a+2b", None), ("a+ZZ", None), ("a=b", None),
        ("a b", None), ("ä", None), ("a+7F", None),
    ],
)  # fmt: skip
def test_xtext(text: str, decoded: str | None) -> None:
    assert decode_xtext(text) == decoded


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        (r"\x{4E2D}\x{6587}@x.test", "中文@x.test"), ("中文@x.test", "中文@x.test"), (r"a\x{20}b@x.test", "a b@x.test"),
        (r"a\x{0A}b@x.test", None), (r"\x{D800}@x.test", None), (r"\x{110000}@x.test", None), ("a+0Ab@x.test", None),
        (r"\x{85}@x.test", None), (r"\x{2028}@x.test", None), (r"\x{4}@x.test", r"\x{4}@x.test"),
    ],
)  # fmt: skip
def test_unitext(text: str, decoded: str | None) -> None:
    assert decode_unitext(text) == decoded


def test_what_is_encoded_is_read_again() -> None:
    assert encode_xtext("a+b=c d") == "a+2Bb+3Dc+20d"
    assert encode_unitext("中 文+=\\@x.test") == r"\x{4E2D}\x{20}\x{6587}\x{2B}\x{3D}\x{5C}@x.test"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_is_undone(text: str) -> None:
    assert decode_xtext(encode_xtext(text)) == text


@given(st.text())
def test_unitext_is_ascii_and_undone(text: str) -> None:
    encoded = encode_unitext(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert decode_unitext(encoded) == (text if text.isprintable() else None)


@given(st.text())
def test_nothing_raises(text: str) -> None:
    for decoded in (decode_xtext(text), decode_unitext(text)):
        assert decoded is None or decoded.isprintable()
