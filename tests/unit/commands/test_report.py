"""`mailserver report tls` in words."""

from __future__ import annotations

from typing import Any

import pytest

from mailserver.commands.tls_reports import describe

RECEIVED = {
    "begins": 1_800_000_000.0, "organisation": "Company-X", "contact": "tls@x.test", "domain": "example.test",
    "type": "sts", "good": 7, "bad": 0, "failures": [],
}  # fmt: skip
FAILURE = {
    "result": "certificate-expired", "host": "mx.example.test", "address": "192.0.2.1", "reason": "since May",
    "source": "", "count": 3,
}  # fmt: skip
POLICY = {"domain": "far.test", "type": "no-policy-found", "good": 1, "bad": 0, "failures": []}
SENT = {"day": "2027-01-15", "domain": "far.test", "state": "sent", "told": ["mailto:a@far.test"], "trouble": "",
        "next": 1_800_000_000.0, "policies": [POLICY]}  # fmt: skip


def said(**told: Any) -> str:
    return "\n".join(describe({"records": []} | told))


def test_what_others_report() -> None:
    assert "2027-01-15  Company-X about example.test: 7 connections, all good (MTA-STS)" in said(received=[RECEIVED])
    text = said(received=[RECEIVED | {"bad": 3, "failures": [FAILURE], "type": "tlsa", "organisation": ""}])
    assert "tls@x.test about example.test: 7 good, 3 FAILED (DANE)" in text
    assert "3 x the certificate has expired, at mx.example.test [192.0.2.1] (since May)" in text
    assert "1 x something-new" in said(
        received=[RECEIVED | {"failures": [FAILURE | {"result": "something-new", "host": "", "count": 1}]}]
    )
    assert "nothing yet" in said(received=[])


@pytest.mark.parametrize(("row", "words"), [
    ({}, "sent to mailto:a@far.test"),
    ({"state": "unwanted"}, "not sent: the domain does not ask for reports"),
    ({"state": "failed", "trouble": "nobody there"}, "given up: nobody there"),
    ({"state": "waiting"}, "to be sent 2027-01-15 08:00:00Z"),
    ({"state": "waiting", "trouble": "no {answer}"}, "last try: no {answer}"),
    ({"policies": [POLICY | {"domain": "mx.far.test", "type": "tlsa"}]}, "far.test (its server mx.far.test): 1 conn"),
])  # fmt: skip
def test_what_we_report(row: dict[str, Any], words: str) -> None:
    assert words in said(sent=[SENT | row])


@pytest.mark.parametrize(("published", "words"), [
    ([], 'is missing in DNS; publish:\n    x. IN TXT "v=1; rua=y"'),
    (None, 'cannot be looked up now; it should be:\n    x. IN TXT "v=1; rua=y"'),
    (["v=1; rua=z"], "x is right: v=1; rua=z"),
    (["v=1"], "x asks for no reports: v=1; add rua=y"),
])  # fmt: skip
def test_the_record(published: list[str] | None, words: str) -> None:
    record = {"name": "x", "text": "v=1; rua=y", "published": published, "asks": published == ["v=1; rua=z"]}
    assert words in said(received=[], records=[record])
