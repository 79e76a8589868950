"""The chain of ARC (RFC 8617)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.dkim.chain import Chain
from mailserver.mime.headers import header_block_end
from mailserver.model.findings import AuthResult
from tests.helpers.signing import Signer, seal, signer

NOW = 1_700_000_000.0
SUITE = json.loads((Path(__file__).parents[2] / "vectors" / "arc" / "validation.json").read_text("utf-8"))
CASES = [(name, test, group["records"]) for group in SUITE for name, test in group["tests"].items()]

MAIL = b"From: anna@signer.test\r\nTo: b@far.test\r\nSubject: h\r\nDate: x\r\n\r\nHello\r\n"
LIST, RELAY, ED = signer(domain="list.test"), signer(domain="relay.test"), signer("ed25519", domain="ed.test")

Records = Mapping[str, "tuple[bytes, ...] | None"]


def validate(message: bytes, records: Records, trusted: tuple[str, ...] = ()) -> AuthResult:
    chain = Chain(message, NOW)
    digests = chain.check({name: records.get(name, ()) for name in chain.key_names})
    digests.feed(message[header_block_end(message) :])
    digests.end()
    return chain.result(digests, trusted)


@pytest.mark.parametrize(("name", "test", "texts"), CASES, ids=[name for name, _, _ in CASES])
def test_the_suite(name: str, test: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    message = test["message"].replace("\n", "\r\n").encode()
    found = validate(message, {key: (text.encode(),) for key, text in texts.items()})
    assert found.result == test["cv"], f"{test['description']}: {found.reason}"


def test_the_suite_is_complete() -> None:
    assert len(CASES) == 171


# chains of our own


def outcome(message: bytes, *trusted: str, without: Signer | None = None) -> AuthResult:
    records: dict[str, tuple[bytes, ...] | None] = {
        each.name: (each.record.encode(),) for each in (LIST, RELAY, ED) if each is not without
    }
    return validate(message, records, trusted)


def changed(message: bytes) -> bytes:
    return message.replace(b"Subject: h", b"Subject: [list] h").replace(b"Hello", b"Hello\r\n-- \r\nlist")


def test_no_chain() -> None:
    assert outcome(MAIL) == AuthResult(method="arc", result="none")
    assert not Chain(MAIL, NOW).key_names


def test_who_can_still_be_believed() -> None:
    one = seal(MAIL, LIST, 1)
    two = seal(changed(one), RELAY, 2, c="simple/simple")
    three = seal(b"Received: x\r\n" + two, ED, 3, c="relaxed/simple")
    assert outcome(one).properties == (("header.oldest-pass", "0"), ("header.d", "list.test"))
    assert outcome(seal(one, RELAY, 2)).value("header.oldest-pass") == "0"
    assert outcome(two).properties == (("header.oldest-pass", "2"), ("header.d", "relay.test"))
    assert outcome(three).value("header.oldest-pass") == "2"
    assert outcome(seal(changed(three), LIST, 4)).value("header.oldest-pass") == "4"
    for old, new in ((b"Hello", b"Hullo"), (b"dmarc=pass", b"dmarc=fail"), (b"; list.", b"; List.")):
        broken = three.replace(old, new)
        assert outcome(broken).result == "fail"


def test_every_fault_of_a_key_is_a_failure() -> None:
    message = seal(seal(MAIL, LIST, 1), RELAY, 2)
    assert outcome(message, without=LIST).reason == "seal: DNS has no key of this name"
    assert outcome(message, without=RELAY).reason == "message signature: DNS has no key of this name"
    found = validate(message, {LIST.name: None, RELAY.name: (RELAY.record.encode(),)})
    assert (found.result, found.reason) == ("fail", "seal: the key could not be looked up now")


def test_the_reasons() -> None:
    one = seal(MAIL, LIST, 1)
    two = seal(one, RELAY, 2)
    first = len(seal(MAIL, LIST, 1)) - len(MAIL)
    for message, words in (
        (changed(one), "message signature: the header is not as it was signed"),
        (one + b"more\r\n", "message signature: the body is not as it was signed"),
        (one[first // 8 :], ""),
        (seal(one, RELAY, 2, cv="none"), "a sealer found"),
        (seal(one, RELAY, 2, cv="fail"), "the last sealer found"),
        (seal(seal(one, RELAY, 2, cv="fail"), ED, 3), "a sealer found"),
        (seal(MAIL, LIST, 1, seal_tags=["h=from"]), "seal: a seal must not name"),
        (seal(MAIL, LIST, 1, seal_tags=["t=x"]), "seal: t= is not a number"),
        (seal(MAIL, LIST, 1, h=["from", "arc-seal"]), "message signature: a message signature must not"),
        (two.replace(b"i=2; a=", b"i=2; i=2; a="), "numbers"),
        (two.replace(b"ARC-Authentication-Results: i=2;", b"ARC-Authentication-Results: x; i=2;"), "numbers"),
        (b"ARC-Seal: i=1; cv=" + b"x" * 40_000 + b"\r\n" + MAIL, "too long"),
    ):
        found = outcome(message)
        assert (found.result, words in found.reason) == ("fail", True), found.reason


def test_l12_broken_chains() -> None:
    one = seal(MAIL, LIST, 1)
    gap = seal(one, RELAY, 3)
    double = seal(one, RELAY, 1, cv="none")
    for message in (gap, double, seal(MAIL, LIST, 2), seal(MAIL, LIST, 0), one.replace(b"ARC-Seal", b"X-Seal")):
        assert outcome(message, "list.test", "relay.test").result == "fail"


def test_l12_fifty_sets_and_one_more() -> None:
    message = MAIL
    for number in range(1, 51):
        message = seal(message, ED, number)
    assert outcome(message).result == "pass"
    assert Chain(message, NOW).key_names == {ED.name}
    too_long = seal(message, ED, 51)
    assert outcome(too_long).result == "fail"
    assert Chain(too_long, NOW).key_names == frozenset()


RESULTS = (
    "spf=fail smtp.mailfrom=x@bad.test; dkim=fail header.d=bad.test; dkim=pass (2048) header.d=signer.test header.s=s;"
    ' dmarc=pass (p=reject; "x) action=none header.from=signer.test'
)


def test_the_word_of_trusted_sealers() -> None:
    one = seal(MAIL, LIST, 1, results=RESULTS)
    two = seal(changed(one), RELAY, 2, results="arc=pass; dmarc=fail header.from=signer.test")

    def claims(message: bytes, *trusted: str) -> dict[str, str]:
        return {name: value for name, value in outcome(message, *trusted).properties if name.startswith("policy.")}

    assert claims(one) == claims(one, "relay.test") == claims(one, "other.list.test") == {}
    assert claims(one, "list.test") == {
        "policy.sealer": "list.test", "policy.dmarc": "pass", "policy.dmarc-from": "signer.test", "policy.spf": "fail",
        "policy.spf-mailfrom": "x@bad.test", "policy.dkim": "pass", "policy.dkim-d": "signer.test",
    }  # fmt: skip
    # A chain is as good as its last part: what an unknown sealer passed on may be anything.
    assert claims(two, "list.test") == {}
    assert claims(two, "relay.test") == {
        "policy.sealer": "relay.test", "policy.dmarc": "fail", "policy.dmarc-from": "signer.test",
    }  # fmt: skip
    assert claims(two, "list.test", "relay.test")["policy.sealer"] == "list.test"
    assert claims(changed(two), "list.test", "relay.test") == {}
    # An author whom the sealer did not sign may have been put in later.
    assert claims(seal(MAIL, LIST, 1, results=RESULTS, h=["to"]), "list.test") == {}
    assert claims(seal(b"From: c@d.test\r\n" + MAIL, LIST, 1, results=RESULTS), "list.test") == {}


@given(st.sampled_from(["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"]), st.binary(max_size=100))
def test_nothing_raises(name: str, value: bytes) -> None:
    for message in (MAIL, seal(MAIL, ED, 1)):
        assert outcome(name.encode() + b": " + value + b"\r\n" + message, "ed.test").result in ("fail", "none", "pass")
