from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime import words
from mailserver.mime.words import decode_octets, decode_words


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\xc3\xa9", "é"),
        (b"\xe9", "\ufffd"),
        (b"=?utf-8?q?=C3=A9_x?=", "é x"),
        (b"=?UTF-8?B?w6k=?= x", "é x"),
        (b"=?utf-8?b?w6k?=", "é"),
        (b"=?iso-8859-1*en?q?=E9?=", "é"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=\r\n\t=?koi8-r?q?=C1?=", "aа"),
        (b"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?q?a", "=?utf-8?q?a"),
        (b"=?zlib?q?abc?=", "abc"),
        (b"=?utf-8?q?a b?=", "a b"),
        (b"x=?utf-8?q?y?=z", "xyz"),
    ],
)
def test_encoded_words(raw: bytes, text: str) -> None:
    assert decode_words(raw) == text


def test_every_codec_on_the_list_exists_and_is_a_text_codec() -> None:
    for codec in set(words._CODECS.values()):
        info = codecs.lookup(codec)
        assert info._is_text_encoding
        assert isinstance(b"abc".decode(codec, "replace"), str)


@given(st.binary(max_size=60), st.sampled_from([*sorted(words._CODECS), b"utf-7", b"idna", b"rot13", b"\xff", b""]))
def test_any_octets_in_any_charset(octets: bytes, charset: bytes) -> None:
    decode_octets(octets, charset)


@given(st.lists(st.sampled_from([b"=?", b"utf-8", b"?q?", b"?b?", b"?=", b"=C3", b"w6k", b" ", b"\r\n ", b"=", b"_"]),
                max_size=30).map(b"".join))  # fmt: skip
def test_any_field_is_decoded(raw: bytes) -> None:
    decode_words(raw)
