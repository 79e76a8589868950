"""`mailserver tls-policy show` in words."""

from __future__ import annotations

from typing import Any

import pytest

from mailserver.commands.tls_policy import describe

HOST = {
    "host": "mx.far.test", "port": 25, "addresses": ["192.0.2.1"], "mx_authentic": True, "error": "",
    "level": "opportunistic", "source": "opportunistic", "enforced": True, "refused": "", "names": ["mx.far.test"],
    "failure": "", "detail": "", "text": [],
}  # fmt: skip
NONE = {"domain": "far.test", "id": "", "policy": None, "error": "", "remark": "there is no record"}
POLICY = {"mode": "enforce", "id": "7", "expires": 1_800_000_000.0, "mx": ["*.far.test"], "trouble": ""}


def lines(*hosts: dict[str, Any], mta_sts: Any = NONE, **told: Any) -> str:
    plain = {"domain": "far.test", "destination": "far.test", "error": "", "mta_sts": mta_sts}
    return "\n".join(describe(plain | {"hosts": [HOST | host for host in hosts]} | told))


@pytest.mark.parametrize(("host", "said"), [
    ({}, ["needs:    TLS where it is offered", "DNSSEC proves no TLSA records of this host"]),
    ({"mx_authentic": False}, ["DNSSEC does not prove that this is its mail server"]),
    ({"level": "dane", "source": "dane", "text": ["3 1 1 AB"]}, ["that DNS pins", "because:  DANE", "TLSA:     3 1"]),
    ({"level": "verified", "source": "sts"}, ["a known authority for mx.far.test", "the MTA-STS policy"]),
    ({"level": "verified", "source": "sts", "enforced": False, "refused": "not named", "detail": "not named"},
     ["testing:  mail goes all the same: not named"]),
    ({"level": "verified", "source": "sts", "refused": "not named"}, ["not used: not named"]),
    ({"failure": "sts-policy-fetch-error", "detail": "nobody there"},
     ["trouble:  nobody there (sts-policy-fetch-error)"]),
    ({"level": "encrypted", "source": "mine"}, ["TLS, with any certificate", "because:  mine"]),
    ({"error": "a plugin failed"}, ["not used: a plugin failed"]),
])  # fmt: skip
def test_a_host(host: dict[str, Any], said: list[str]) -> None:
    text = lines(host)
    assert "mx.far.test, port 25 (192.0.2.1)" in text
    for words in said:
        assert words in text


def test_a_domain() -> None:
    assert "MTA-STS:  none (there is no record)" in lines({})
    text = lines({}, mta_sts={**NONE, "policy": POLICY, "error": "HTTP status 404"})
    assert "MTA-STS:  enforce, id 7, until 2027-01-15" in text
    assert "mail servers: *.far.test" in text and "no newer one: HTTP status 404" in text
    assert "MTA-STS:" not in lines({}, mta_sts=None)
    assert lines(destination="local") == "far.test: its mailboxes are here"
    assert "no host:  null MX" in lines(error="null MX")
    assert lines({}, destination="relay.test:25").startswith("far.test (by way of relay.test:25)")
