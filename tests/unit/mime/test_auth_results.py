"""Authentication-Results (RFC 8601): our field, and the removal of those that claim to be ours (ATTACKS A13, L11)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.auth_results import ClaimRemoval, authentication_results
from mailserver.mime.headers import fields, unfold
from mailserver.model.findings import AuthResult

ME = "mail.example.test"
PREFIX = f"Authentication-Results: {ME};"


def written(*results: AuthResult) -> str:
    return authentication_results(ME, results).decode()


def one(**properties: str) -> str:
    named = tuple((name.replace("_", "."), value) for name, value in properties.items())
    text = written(AuthResult(method="spf", result="pass", properties=named))
    return text.removeprefix(f"{PREFIX}\r\n\tspf=pass").strip()


def test_a_field() -> None:
    assert authentication_results(ME, []) == b""
    assert written(
        AuthResult(method="spf", result="pass", properties=(("smtp.mailfrom", "a@example.org"),)),
        AuthResult(
            method="dkim", result="fail", reason="body hash; does not match (at all)",
            properties=(("header.d", "example.org"), ("header.i", "@example.org"), ("header.b", "ab/c+=")),
        ),
        AuthResult(method="dmarc", result="pass", properties=(("header.from", "example.org"),)),
    ) == (
        f"{PREFIX}\r\n"
        "\tspf=pass smtp.mailfrom=a@example.org;\r\n"
        '\tdkim=fail reason="body hash, does not match [at all]"\r\n'
        '\t\theader.d=example.org header.i=@example.org header.b="ab/c+=";\r\n'
        "\tdmarc=pass header.from=example.org\r\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a@example.org", "a@example.org"), ("example.org", "example.org"), ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", '"2001:db8::1"'), ("o'brien@example.org", "o'brien@example.org"),
        # A local part that needs quotes is left out: its semicolon ends the value for careless readers.
        ('"x; dmarc=pass header.from=victim"@example.org', "@example.org"),
        ("legitimate.com(.attack.com", '"legitimate.com[.attack.com"'),
        ("legitimate.com'a.attack.com", '"legitimate.com\'a.attack.com"'),
        ('a";dmarc=pass', '"a\',dmarc=pass"'), ("a\r\nX: y", '"a??X: y"'), ("a\u2028b", '"a?b"'), ("", ""),
    ],
)  # fmt: skip
def test_a_value(value: str, shown: str) -> None:
    assert one(smtp_mailfrom=value) == (f"smtp.mailfrom={shown}" if shown else "")


def test_names_that_are_none_are_left_out() -> None:
    assert written(AuthResult(method="spf=pass; x", result="pass")) == ""
    assert written(AuthResult(method="spf", result="pass; dmarc=pass")) == ""
    assert one(**{"smtp.mailfrom=x; a": "b"}) == ""


@given(
    st.lists(st.builds(
        AuthResult, method=st.sampled_from(["spf", "dkim", "x; y"]), result=st.sampled_from(["pass", "fail", "\r\n"]),
        reason=st.text(max_size=400),
        properties=st.lists(st.tuples(st.sampled_from(["smtp.mailfrom", "header.d"]), st.text(max_size=700)),
                            max_size=3).map(tuple),
    ), max_size=4),
)  # fmt: skip
def test_nothing_gets_out_of_its_value(results: list[AuthResult]) -> None:
    octets = authentication_results(ME, results)
    good = [r for r in results if r.method in ("spf", "dkim") and r.result in ("pass", "fail")]
    if not good:
        assert octets == b""
        return
    assert [name for name, _, _ in fields(octets)] == [b"authentication-results"]
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    # Even for a reader that knows neither quotes nor comments, each result is where it belongs.
    parts = [part.strip() for part in unfold(octets[:-2]).decode().split(";")]
    assert [re.split(r"\s", part)[0] for part in parts[1:]] == [f"{r.method}={r.result}" for r in good]
    assert "(" not in octets.decode() and "\\" not in octets.decode()


def without_claims(header: bytes, authserv_id: str) -> bytes:
    """The same whole, byte by byte, and with a body behind it."""
    whole, steps = ClaimRemoval(authserv_id, 1000), ClaimRemoval(authserv_id, 1000)
    found = whole.feed(header) + whole.finish()
    assert b"".join(steps.feed(header[at : at + 1]) for at in range(len(header))) + steps.finish() == found
    return found


FORGED = [
    # What some reader takes off: a mark of the octets' order, a space that is none.
    f"Authentication-Results: \ufeff{ME}; spf=pass", f"Authentication-Results: {ME}\u00a0; spf=pass",
    "Authentication-Results: mail.example.test; dmarc=pass",
    "authentication-results:mail.example.test;dmarc=pass",
    "AUTHENTICATION-RESULTS: MAIL.Example.TEST; dmarc=pass",
    "Authentication-Results : mail.example.test; dmarc=pass",
    "Authentication-Results\r\n : mail.example.test; dmarc=pass",
    "Authentication-Results: mail.example.test 1; dmarc=pass",
    "Authentication-Results: mail.example.test. ; dmarc=pass",
    'Authentication-Results: "mail.example.test"; dmarc=pass',
    'Authentication-Results: "mail\\.example.test"; dmarc=pass',
    "Authentication-Results:\r\n mail.example.test;\r\n\tdmarc=pass",
    "Authentication-Results: (a comment; example.org) mail.example.test; dmarc=pass",
    "Authentication-Results: (a (nested\\) one)) mail.example.test (x) 1 (y); dmarc=pass",
    # What cannot be read, but could be by somebody.
    "Authentication-Results: mail.example.test",
    "Authentication-Results: ; mail.example.test; dmarc=pass",
    "Authentication-Results: mail(x).example.test; dmarc=pass",
    "Authentication-Results: mail.\r\n example.test; dmarc=pass",
    "Authentication-Results: (never ends mail.example.test; dmarc=pass",
    "Authentication-Results: example.org mail.example.test; dmarc=pass",
]
OTHERS = [
    "Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=a@mail.example.test",
    "Authentication-Results: mail.example.test.example.org; dmarc=pass",
    "Authentication-Results: example.test; dmarc=pass",
    "Authentication-Results: @#$%",
    "Authentication-Results:",
    "ARC-Authentication-Results: i=1; mail.example.test; dmarc=pass",
    "X-Authentication-Results: mail.example.test; dmarc=pass",
    "Subject: x\r\n Authentication-Results: mail.example.test; dmarc=pass",
]


@pytest.mark.parametrize("field", FORGED)
def test_l11_a_forged_field_is_removed(field: str) -> None:
    header = f"From: a@b\r\n{field}\r\nTo: c@d\r\n\r\n".encode()
    assert without_claims(header, ME) == b"From: a@b\r\nTo: c@d\r\n\r\n"
    assert without_claims(f"{field}\r\n{field}\r\n\r\n".encode(), ME) == b"\r\n"


@pytest.mark.parametrize("field", OTHERS)
def test_l11_all_else_stays_as_it_is(field: str) -> None:
    header = f"From: a@b\r\n{field}\r\nTo: c@d\r\n\r\n".encode()
    assert without_claims(header, ME) == header


@given(st.lists(st.sampled_from([*FORGED, *OTHERS, "Subject: \u00e4", "no field", " ", "\t(", "A: b\n c"]), max_size=8))
def test_removal_takes_whole_fields_only(lines: list[str]) -> None:
    header = "\r\n".join(lines).encode()
    once = without_claims(header, ME)
    assert without_claims(once, ME) == once

    def others(octets: bytes) -> list[bytes]:
        return [octets[start:stop] for name, start, stop in fields(octets) if name != b"authentication-results"]

    assert [field.rstrip() for field in others(once)] == [field.rstrip() for field in others(header)]


@given(st.binary(max_size=300))
def test_removal_takes_anything(header: bytes) -> None:
    without_claims(header, ME)
    without_claims(b"Authentication-Results: " + header, ME)


def test_the_body_is_nobodys_header() -> None:
    removal = ClaimRemoval(ME, 1000)
    body = b"\r\n" + FORGED[0].encode() + b"\r\n"
    assert removal.feed(b"From: a@b\r\n" + body) == b"From: a@b\r\n" + body
    assert removal.feed(body) == body and removal.finish() == b""


def test_little_is_held_back() -> None:
    removal = ClaimRemoval(ME, 1000)
    line = b"X: " + b"y" * 500 + b"\r\n"
    assert removal.feed(line * 1000 + b"Z") == line * 1000
    assert removal.feed(b"\r\n" + FORGED[0].encode()) == b"Z\r\n"
    # A field that grows without end is none that is taken.
    grown = b"".join(removal.feed(b"\r\n " + b"y" * 500) for _ in range(10))
    assert len(grown) > 4000


def test_many_large_fields_cost_no_more_than_a_few() -> None:
    one = b"Authentication-Results: x" + b"()" * 5000 + b"\r\n"
    removal = ClaimRemoval("mx.here.test", 64 << 10)
    assert removal.feed(one * 50 + b"From: a@b.test\r\n\r\n") + removal.finish() == one * 3 + b"From: a@b.test\r\n\r\n"
