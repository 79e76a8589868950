"""Comparators: RFC 5051, RFC 4790 §4.2 and §9, RFC 5255 §4.6, and which of them a pattern means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.comparators import (
    ASCII_CASEMAP,
    CASEFOLD,
    COMPARATORS,
    OCTET,
    UNICODE_CASEMAP,
    Collation,
    Comparator,
    matching,
)

_TEXTS = st.text(
    "aAbSs1 \u00df\u00e4\u00c4\u0308\u0323\ufb01fi\u2460\u212aKk\u0130\u01c4\u03c3\u03c2\u03a3", max_size=6
)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        # RFC 5051 §2, the example.
        ("\u01c4", "Dz\u030c"),
        ("\u01c6", "Dz\u030c"),
        ("Hello", "HELLO"),
        ("\u00e9", "E\u0301"),
        ("\u00df", "\u00df"),
        ("\u2460 \ufb01", "1 fi"),
    ],
)
def test_unicode_casemap(text: str, key: str) -> None:
    assert UNICODE_CASEMAP.key(text) == UNICODE_CASEMAP.order(text) == key.encode()


@pytest.mark.parametrize(
    ("comparator", "same", "others"),
    [
        (CASEFOLD, ["Stra\u00dfe", "STRASSE", "stra\u1e9ee", "\u017ftrasse"], ["strase", "stra\u00dfe\u0308"]),
        (CASEFOLD, ["\u00e4", "A\u0308", "\u00c4"], ["a", "\u00e4\u0308"]),
        (UNICODE_CASEMAP, ["\u00e4", "A\u0308", "\u00c4"], ["a", "\u00df"]),
        (ASCII_CASEMAP, ["a\u00e4", "A\u00e4"], ["A\u00c4", "aa\u0308"]),
        (OCTET, ["a\u00e4"], ["A\u00e4", "aa\u0308"]),
    ],
)
def test_what_is_equal(comparator: Comparator, same: list[str], others: list[str]) -> None:
    assert len({comparator.key(text) for text in same}) == len({comparator.order(text) for text in same}) == 1
    assert comparator.key(same[0]) not in map(comparator.key, others)


@given(_TEXTS, _TEXTS, st.sampled_from(COMPARATORS))
def test_order_and_substrings_are_consistent_with_equality(one: str, other: str, comparator: Comparator) -> None:
    """RFC 4790 §4.2.3, §4.2.4."""
    equal = comparator.key(one) == comparator.key(other)
    assert equal is (comparator.order(one) == comparator.order(other))
    assert equal is (comparator.is_in(comparator.key(one), other) and comparator.is_in(comparator.key(other), one))
    assert b"\xff" not in comparator.order(one)


def test_the_usual_order_is_that_of_letters() -> None:
    ordered = ["", "1", "\u2460", "kolb", "KOLN", "koln", "k\u00f6ln", "Ko\u0308ln", "Stra\u00dfe", "straz"]
    assert sorted(ordered, key=CASEFOLD.order) == ordered


def test_the_example_of_rfc_5255() -> None:
    """§4.6: four subjects, of which the first and the third are not in their charset, sort as (4) (2) (3) (1)."""
    words = [
        b"=?utf-8?q?=D0=C0=D0=BD=D0=B4=D1=80=D0=B5=D0=B9?=",
        b"=?utf-8?q?=D1=81=D0=95=D0=A0=D0=93=D0=95=D0=99?=",
        b"=?utf-8?q?=D0=92=D0=B0=D1=81=D0=B8=D0=BB=D0=B8=FF=B9?=",
        b"=?koi8-r?q?=E1=CC=C5=CB=D3=C5=CA?=",
    ]
    texts = [UNICODE_CASEMAP.words(word) for word in words]
    assert [isinstance(text, str) for text in texts] == [False, True, False, True]
    assert texts[0] == bytes.fromhex("D0C0D0BDD0B4D180D0B5D0B9")
    keys = [UNICODE_CASEMAP.order_of(text) for text in texts]
    assert [keys.index(key) + 1 for key in sorted(keys)] == [4, 2, 3, 1]


def test_words_around_damaged_ones_are_octets_too() -> None:
    assert OCTET.words(b"a =?utf-8?q?=C3=A4?= =?utf-8?b?/w==?= b") == "a \u00e4".encode() + b"\xff b"
    assert CASEFOLD.words(b"=?utf-8?q?=FF?=") == "\ufffd"
    assert OCTET.words(b"\xc3\xa4") == "\u00e4" and OCTET.words(b"\xe4") == b"\xe4"
    assert OCTET.text(b"\xe4", "cp1252") == "\u00e4" and OCTET.text(b"\xe4") == b"\xe4"


@pytest.mark.parametrize("comparator", [UNICODE_CASEMAP, ASCII_CASEMAP, OCTET])
@pytest.mark.parametrize("before", [(1 << 18) - 2, (1 << 18) - 1, 1 << 18, (1 << 18) + 3])
def test_long_texts_are_looked_through_piece_by_piece(comparator: Comparator, before: int) -> None:
    text = "\u00df" * before + "n\u00e4her" + "x" * (1 << 18)
    for found in ("n\u00e4her", "\u00e4", "\u00dfn\u00e4herx", "x"):
        assert comparator.is_in(comparator.key(found), text)
    assert not comparator.is_in(comparator.key("xn"), text) and comparator.is_in(b"", text)


def test_no_key_of_a_long_text_is_made_at_once() -> None:
    """Each character becomes eighteen."""
    longest = 0

    def measured(text: str) -> bytes:
        nonlocal longest
        key = UNICODE_CASEMAP.key(text)
        longest = max(longest, len(key))
        return key

    comparator = Comparator(name="x", key=measured, order=measured)
    assert not comparator.is_in(b"no", "\ufdfa" * (1 << 20)) and longest < 12 << 20


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("i;octet", [OCTET]),
        ("I;Octet", [OCTET]),
        ("default", [ASCII_CASEMAP]),
        ("i;*", [UNICODE_CASEMAP, ASCII_CASEMAP, OCTET]),
        ("i;*casemap", [UNICODE_CASEMAP, ASCII_CASEMAP]),
        ("i*;*i*case*p", [UNICODE_CASEMAP, ASCII_CASEMAP]),
        ("*", list(COMPARATORS)),
        ("*fold", [CASEFOLD]),
        ("i;octet*", [OCTET]),
        ("i;oct*ctet", []),
        ("i;oct", []),
        ("cz;*", []),
        ("a*" * 120, []),
    ],
)
def test_patterns(pattern: str, found: list[Comparator]) -> None:
    assert list(matching(pattern, ASCII_CASEMAP)) == found


def test_how_a_selected_one_is_told() -> None:
    assert Collation(OCTET).selected == "i;octet" and Collation(OCTET, descending=True).selected == "-i;octet"
