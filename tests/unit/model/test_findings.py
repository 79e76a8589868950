"""What proves that a domain stands behind a message."""

from __future__ import annotations

import pytest

from mailserver.model.findings import AuthResult, Findings


def result(method: str, name: str, value: str, how: str = "pass") -> AuthResult:
    return AuthResult(method=method, result=how, properties=((name, value),))


@pytest.mark.parametrize(
    ("found", "domain", "proof"),
    [
        (result("dmarc", "header.from", "far.test"), "far.test", "dmarc"),
        (result("dkim", "header.d", "FAR.test."), "far.test", "dkim"),
        (result("dkim", "header.d", "far.test"), "mail.far.test", "dkim"),
        (result("spf", "smtp.mailfrom", '"a@evil.test"@far.test'), "Far.test", "spf"),
        (result("spf", "smtp.mailfrom", "far.test"), "far.test", "spf"),
        (result("spf", "smtp.helo", "far.test"), "far.test", ""),
        (result("dkim", "header.i", "@far.test"), "far.test", ""),
        (result("dkim", "header.d", "far.test", "fail"), "far.test", ""),
        (result("dkim", "header.d", "mail.far.test"), "far.test", ""),
        (result("dkim", "header.d", "test"), "far.test", ""),
        (result("dmarc", "header.from", "far.test"), "mail.far.test", ""),
        (result("dkim", "header.d", "xfar.test"), "far.test", ""),
        (result("dmarc", "header.from", ""), "", ""),
    ],
)
def test_who_is_proved(found: AuthResult, domain: str, proof: str) -> None:
    assert Findings((found,)).proves(domain) == proof
