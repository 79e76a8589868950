"""The one author of a message, or none (ATTACKS L01, L02, D09, D10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.sole_author import sole_author

GOOD = {
    "a@good.test": "good.test",
    "<a@GOOD.test>": "good.test",
    "Bob <a@good.test>": "good.test",
    '"Bob (x), <b@evil.test>" <a@good.test>': "good.test",
    '"b@evil.test" <a@good.test>': "good.test",
    "=?utf-8?q?b=40evil.test?= <a@good.test>": "good.test",
    "a@good.test (Bob)": "good.test",
    "Bob\r\n <a@good.test>": "good.test",
    '"odd \\" local"@good.test': "good.test",
    "'x'@good.test": "good.test",
    "a..b.@docomo.test": "docomo.test",
    "x" * 100 + "@good.test": "good.test",
    "a@b\u00fccher.test": "xn--bcher-kva.test",
    "a@xn--bcher-kva.test": "xn--bcher-kva.test",
    "a@xn--fa-hia.test": "xn--fa-hia.test",
    "a@[192.0.2.1]": "[192.0.2.1]",
    "root@localhost": "localhost",
    "< a@good.test >,": "good.test",
}
BAD = [
    "", " ", "Bob", "<>", "a", "@good.test", "a@", "a@good..test", "a@good.test.", "a@-x.test", "a@x y.test",
    # Several, and what some take for several.
    "a@evil.test, b@good.test", "<a@evil.test>, <b@good.test>", "<a@good.test>\\,<b@evil.test>",
    "a@good.test,<b@evil.test>", "<a@evil.test>b@good.test", "a@evil.test b@good.test", "a@evil.test;b@good.test",
    ",a@good.test", "<a@good.test>>", "<<a@good.test>>", "a@good.test <b@evil.test",
    "alice@example.org)bob@evil.test", "a@evil.test@good.test", "@,;:a@good.test", "(a@good.test", "a@good.test (x",
    # Groups, routes, encoded and obsolete forms.
    "friends: a@good.test;", "undisclosed:;", "<@evil.test,@x.test:a@good.test>", "=?utf-8?q?admin?=@good.test",
    "=?utf-8?b?PGFkbWluQGdvb2QudGVzdD4=?=", "=?utf-8?q?a=40good.test?=,<b@evil.test>", "a@=?utf-8?q?good.test?=",
    "a @ good.test", "a(x)@good.test", "a@(x)good.test", "a@good.(x)test", "a@good . test", "<a@good.test(.evil.test)>",
    "a@good.test\0.evil.test", "a@\u00e4\u0308..test", "a@good\u3002test", "a@\u212a.test",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_an_author(text: str) -> None:
    assert sole_author(f"To: x@y.test\r\nFROM: {text}\r\n\r\nFrom: b@evil.test\r\n".encode())[:2] == (GOOD[text], "")


@pytest.mark.parametrize(
    "text",
    ["Doe, John <j@good.test>", "M\u00fcller, J\u00f6rg, Dr. <j@good.test> ", "Smith, O'Neil & Co. <x.y+z@good.test>"],
)
def test_a_comma_that_should_be_quoted_misleads_nobody(text: str) -> None:
    assert sole_author(f"From: {text}\r\n\r\n".encode()) == ("good.test", "", True)


@pytest.mark.parametrize(
    "text",
    [
        "Doe, a@evil.test <j@good.test>", "=?utf-8?q?a=40evil.test?=, x <j@good.test>", "Doe, <j@good.test>, x",
        "Doe, x <j@good.test>, y <k@evil.test>", ", <j@good.test>", "Doe,, x <j@good.test>", "Doe, (x) <j@good.test>",
        "a\uff20evil.test, x <j@good.test>", '"Doe, x <j@good.test>', "Doe, x <j@=?q?good?=.test>",
        "Doe, x <@a:j@good.test>",
        "friends: Doe, x <j@good.test>;", "Doe, x\\ <j@good.test>", "Doe, x\0 <j@good.test>",
    ],
)  # fmt: skip
def test_commas_with_which_somebody_could_hide_an_address(text: str) -> None:
    assert sole_author(f"From: {text}\r\n\r\n".encode()).fault


@pytest.mark.parametrize("text", BAD)
def test_no_author(text: str) -> None:
    domain, fault, _ = sole_author(f"From: {text}\r\nTo: x@y.test\r\n\r\n".encode())
    assert domain == "" and fault


@pytest.mark.parametrize(
    "header",
    [
        "To: x@y.test\r\n", "From: a@good.test\r\nFrom: a@good.test\r\n", "From: a@good.test\r\nfrom : b@evil.test\r\n",
        "From\r\n : a@good.test\r\n", "From\r\n : a@evil.test\r\nFrom: b@good.test\r\n", "Sender: a@good.test\r\n",
        "Resent-From: a@good.test\r\n", "\r\nFrom: a@good.test\r\n", "From: a@good.test\r\nTo: a\r\nTo: b\r\n",
        "From: a@good.test\r\nSubject: a\r\nsubject : b\r\n", "From: a@good.test\r\nDate: a\r\nDate: b\r\n",
        "From: a@good.test\r\nSender: a\r\nSender: b\r\n", "From: a@good.test\r\nReply-To: a\r\nReply-To: b\r\n",
    ],
)  # fmt: skip
def test_a_header_that_programs_read_in_two_ways(header: str) -> None:
    assert sole_author(f"{header}\r\n".encode()).fault


def test_the_obsolete_space_alone_is_read_by_all() -> None:
    assert sole_author(b"From : a@good.test\r\n\r\n").domain == "good.test"


@given(st.binary(max_size=200), st.sampled_from([b"", b"From: ", b"From: <a@good.test>", b"From:\r\n ", b"From"]))
def test_nothing_raises(rest: bytes, begins: bytes) -> None:
    domain, fault, _ = sole_author(begins + rest)
    assert bool(domain) != bool(fault)
