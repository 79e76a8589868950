"""model/address.py: one mailbox has one key, and no two mailboxes share one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Alice@Example.TEST", "alice@example.test"),
        ('"Alice"@example.test', "alice@example.test"),
        ('"a b"@example.test', "a b@example.test"),
        ('"a\\"b"@example.test', 'a"b@example.test'),
        ("a+b@example.test", "a+b@example.test"),
        ("u@[127.0.0.1]", "u@[127.0.0.1]"),
        ("u@[IPv6:2001:DB8::1]", "u@[IPv6:2001:db8::1]"),
        ("u@bücher.test", "u@xn--bcher-kva.test"),
        ("u@xn--bcher-kva.test", "u@xn--bcher-kva.test"),
        ("ü@example.test", "ü@example.test"),
        ("u\u0308@example.test", "ü@example.test"),  # NFD
    ],
)
def test_key_is_the_one_spelling(text: str, key: str) -> None:
    assert EmailAddress.parse(text).key == key


@pytest.mark.parametrize(
    "text",
    [
        "", "u", "@example.test", "u@", "u@.", "u@a..b", "u@us.", ".u@us", "u.@us", "u..v@us", "u@-a.test", "u @us",
        "u@us ", "u@us@us", "u(c)@us", "<u@us>", '"u@us', '"u"us@us', '"\n"@us', "u@[2130706433]", "u@[127.1]",
        "u@[IPv6:]", "u@xn--\u00fc", "u@xn--zzzzzzzz99999.test", "u@" + "a" * 64 + ".test", "a" * 65 + "@us",
        "u@us\uff0etest\uff20x", "\ud800@us", "u@\u202e.test", "@a,@b:u@us", "u@" + "ü" * 10_000,
    ],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        EmailAddress.parse(text)


def test_only_ascii_letters_are_folded() -> None:
    """ATTACKS E06: U+212A KELVIN SIGN lower-cases (and normalizes) to `k`; other forms of i are others."""
    with pytest.raises(InvalidInput):
        EmailAddress.parse("\u212a@example.test")
    keys = {EmailAddress.parse(f"{c}@example.test").key for c in "iI\u0130\u0131\uff49"}
    assert len(keys) == 4


@given(st.text(max_size=80))
def test_parse_never_raises_anything_else_and_prints_back(text: str) -> None:
    try:
        address = EmailAddress.parse(text)
    except InvalidInput:
        return
    assert EmailAddress.parse(str(address)) == address


def test_a_domain_is_compared_in_a_labels() -> None:
    assert normalize_domain("BÜCHER.Test") == "xn--bcher-kva.test"
