"""Authentication-Results of others (RFC 8601 §2.2, Appendix B)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.auth_results import authentication_results
from mailserver.mime.auth_results_reading import read_results
from mailserver.mime.headers import unfold
from mailserver.model.findings import AuthResult


def test_what_others_write() -> None:
    value = (
        b' mx.google.com (x "; y) 1;\r\n dkim=pass (good signature) header.i=@mail.test header.s="a b";'
        b' SPF/1=softfail reason="no; \\"way\\"" smtp.mailfrom=a=b@c.test ; dmarc = fail (p=NONE (x))'
        b" header.from = d.test"
    )
    assert read_results(unfold(value)) == (
        AuthResult(method="dkim", result="pass", properties=(("header.i", "@mail.test"), ("header.s", "a b"))),
        AuthResult(
            method="spf", result="softfail", reason='no; "way"', properties=(("smtp.mailfrom", "a=b@c.test"),)
        ),
        AuthResult(method="dmarc", result="fail", properties=(("header.from", "d.test"),)),
    )


@pytest.mark.parametrize(
    "value", [b"", b"mx", b"mx;", b"mx; none", b"mx;;;", b"mx; =x", b"mx; a", b'mx; a="b', b"(", b"mx; a=("]
)
def test_nothing_to_read(value: bytes) -> None:
    assert read_results(value) == ()


def test_what_comes_before_nonsense_is_kept() -> None:
    assert [each.method for each in read_results(b"mx; spf=pass; dkim=pass header.d; dmarc=pass")] == ["spf"]
    assert len(read_results(b"mx" + b"; spf=pass" * 1000)) == 100


def test_our_own_field_comes_back() -> None:
    results = (
        AuthResult(method="dkim", result="pass", properties=(("header.d", "a.test"), ("header.b", "ab/+1234"))),
        AuthResult(method="arc", result="fail", reason="no, thanks"),
    )
    assert read_results(unfold(authentication_results("mx", results).partition(b":")[2])) == results


@given(st.text(alphabet=' ;=/().abc"\\\t', max_size=60))
def test_nothing_raises(text: str) -> None:
    read_results(text.encode())
    read_results(b"mx; " + text.encode())
