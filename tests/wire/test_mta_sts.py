"""Records and policies of MTA-STS as texts (RFC 8461 §3.1, §3.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.plugins.mta_sts.policy import LONGEST_AGE, Invalid, Mode, StsPolicy, parse_policy, parse_record

EXAMPLE = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\n"
    b"max_age: 604800\r\n"
)


@pytest.mark.parametrize(("strings", "expected"), [
    ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
    ([b"v=STSv1;id=a"], "a"),
    ([b"v=STSv1 ; \tid=a ;"], "a"),
    ([b"v=STSv1; id=" + b"a" * 32], "a" * 32),
    ([b"v=STSv1; new.field=1,2,3; id=a; x_y=z"], "a"),
    ([b"v=STSv1; id=a; id=b"], "a"),
    ([b"v=spf1 -all", b"v=STSv1; id=a", b"v=STSv2; id=b", b"v=STSv10; id=c"], "a"),
    ([], ""),
    ([b"v=spf1 -all"], ""),
    ([b"V=STSv1; id=a"], ""),
    ([b" v=STSv1; id=a"], ""),
    ([b"v=STSv1"], ""),
])  # fmt: skip
def test_records(strings: list[bytes], expected: str) -> None:
    assert parse_record(strings) == expected


@pytest.mark.parametrize("strings", [
    [b"v=STSv1; id=a", b"v=STSv1; id=b"],
    [b"v=STSv1; id=a", b"v=STSv1; id=a"],
    [b"v=STSv1;"],
    [b"v=STSv1; id="],
    [b"v=STSv1; id=a-b"],
    [b"v=STSv1; id=" + b"a" * 33],
    [b"v=STSv1; id=a;; x=y"],
    [b"v=STSv1; id=a; x"],
    [b"v=STSv1; id=a; x=y=z"],
    [b"v=STSv1; id=a; x=\xc3\xa4"],
    [b"v=STSv1; ID=a"],
    [b"v=STSv1; id=a b"],
    [b"v=STSv1; id=a; " + b"x" * 33 + b"=1"],
    [b"v=STSv1; id=a" + b"; x=y" * 3000],
])  # fmt: skip
def test_records_that_count_for_nothing(strings: list[bytes]) -> None:
    with pytest.raises(Invalid):
        parse_record(strings)


def test_the_example_of_the_rfc() -> None:
    policy = parse_policy(EXAMPLE)
    assert policy == StsPolicy(
        mode=Mode.ENFORCE, max_age=604800, patterns=("mail.example.com", "*.example.net", "backupmx.example.com"),
        text=tuple(EXAMPLE.decode().split("\r\n")[:-1]),
    )  # fmt: skip


@pytest.mark.parametrize("body", [
    EXAMPLE.replace(b"\r\n", b"\n"),
    EXAMPLE.removesuffix(b"\r\n"),
    EXAMPLE.replace(b": ", b":"),
    EXAMPLE.replace(b": ", b": \t "),
    EXAMPLE.replace(b"\r\n", b" \t\r\n"),
    EXAMPLE + b"\r\n\n",
    EXAMPLE + b"tomorrow: some \xc3\xa4 value; with: anything\r\n",
    EXAMPLE + b"mode: none\r\nmax_age: 1\r\nversion: STSv2\r\n",
    EXAMPLE.replace(b"mail.example.com", b"MAIL.Example.com"),
    b"x-first.of_all: 1\n" + EXAMPLE,
])  # fmt: skip
def test_policies_that_say_the_same(body: bytes) -> None:
    policy, plain = parse_policy(body), parse_policy(EXAMPLE)
    assert (policy.mode, policy.max_age, policy.patterns) == (plain.mode, plain.max_age, plain.patterns)


@pytest.mark.parametrize("body", [
    b"",
    b"<html>no such page</html>",
    EXAMPLE.replace(b"STSv1", b"STSv2"),
    EXAMPLE.replace(b"STSv1", b"stsv1"),
    EXAMPLE.replace(b"version: STSv1\r\n", b""),
    EXAMPLE.replace(b"enforce", b"Enforce"),
    EXAMPLE.replace(b"mode: enforce\r\n", b""),
    EXAMPLE.replace(b"max_age: 604800\r\n", b""),
    EXAMPLE.replace(b"604800", b"-1"),
    EXAMPLE.replace(b"604800", b"1.5"),
    EXAMPLE.replace(b"604800", b"12345678901"),
    EXAMPLE.replace(b"604800", "٣".encode()),
    EXAMPLE.replace(b"mx:", b"MX:"),
    EXAMPLE.replace(b"*.example.net", b"*.*.example.net"),
    EXAMPLE.replace(b"*.example.net", b"mx*.example.net"),
    EXAMPLE.replace(b"*.example.net", b"*"),
    EXAMPLE.replace(b"*.example.net", b".example.net"),
    EXAMPLE.replace(b"*.example.net", b"example.net."),
    EXAMPLE.replace(b"*.example.net", b"a.example.net, b.example.net"),
    EXAMPLE.replace(b"*.example.net", b"-a.example.net"),
    EXAMPLE.replace(b"*.example.net", b"b\xc3\xbccher.example"),
    EXAMPLE.replace(b"*.example.net", b"a" * 64 + b".example"),
    EXAMPLE.replace(b"*.example.net", b"a." * 130 + b"example"),
    EXAMPLE + b"no colon\r\n",
    EXAMPLE + b"empty:\r\n",
    EXAMPLE + b" space: before\r\n",
    EXAMPLE + b"a\rb: c\r\n",
    EXAMPLE + b"nul: a\0b\r\n",
    EXAMPLE + b"latin: \xe4\r\n",
    b"\xef\xbb\xbf" + EXAMPLE,
])  # fmt: skip
def test_policies_that_are_none(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_policy(body)


def test_a_policy_of_the_mode_none_needs_no_mx() -> None:
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 86400").patterns == ()


def test_a_policy_holds_a_year_at_most() -> None:
    assert parse_policy(EXAMPLE.replace(b"604800", b"9999999999")).max_age == LONGEST_AGE
    assert parse_policy(EXAMPLE.replace(b"604800", b"0")).max_age == 0


@pytest.mark.parametrize(("host", "allowed"), [
    ("mail.example.com", True), ("MAIL.example.COM", True), ("mx.example.net", True), ("example.net", False),
    ("foo.bar.example.net", False), (".example.net", False), ("mail.example.com.evil.test", False),
    ("xmail.example.com", False), ("mxexample.net", False), ("[192.0.2.1]", False), ("", False),
])  # fmt: skip
def test_hosts(host: str, allowed: bool) -> None:
    """RFC 8461 §4.1: the star is the whole left-most label, and one label."""
    assert parse_policy(EXAMPLE).allows(host) is allowed


PIECES = st.sampled_from((
    b"version: STSv1", b"mode: enforce", b"mode: none", b"mx: a.test", b"mx: *.test", b"max_age: 1", b"\r\n", b"\n",
    b"\r", b" ", b"x: y", b":", b"\xff",
))  # fmt: skip


@given(st.lists(PIECES, max_size=20).map(b"".join) | st.binary(max_size=300))
def test_anything_is_a_policy_or_invalid(body: bytes) -> None:
    try:
        policy = parse_policy(body)
    except Invalid:
        return
    # What was taken says the same when it is written again.
    assert parse_policy("\n".join(policy.text).encode()) == policy


@given(st.lists(st.binary(max_size=100).map(lambda octets: b"v=STSv1;" + octets), max_size=3))
def test_any_record_has_an_id_or_is_invalid(strings: list[bytes]) -> None:
    try:
        found = parse_record(strings)
    except Invalid:
        return
    assert (found == "") is (not strings)
