"""ATTACKS L03, L05–L07: signatures that seem good, and such that are meant to cost."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence

import pytest

from mailserver.mime.dkim import canonical, header
from mailserver.mime.dkim.keys import PublicKey
from mailserver.mime.dkim.verifying import Verification
from mailserver.mime.headers import header_block_end
from tests.helpers.random_mail import random_mail
from tests.helpers.signing import Signer, signer, small_rsa

NOW = 1_700_000_000.0
MAIL = b"From: anna@signer.test\r\nTo: b@far.test\r\nSubject: h\r\nDate: x\r\n\r\nHello\r\n"
RSA = signer()


def verdicts(message: bytes, *signers: Signer, records: dict[str, tuple[bytes, ...]] | None = None) -> list[str]:
    verification = Verification(message, NOW)
    known = {each.name: (each.record.encode(),) for each in signers} | (records or {})
    digests = verification.check({name: known.get(name, ()) for name in verification.key_names})
    digests.feed(message[header_block_end(message) :])
    digests.end()
    return [result.result for result in verification.results(digests)]


def test_l03_what_follows_the_signed_part_of_a_body() -> None:
    message = RSA.sign(MAIL, limit=7)
    assert verdicts(message, RSA) == ["pass"]
    assert verdicts(message + b"<div style='position:absolute'>Pay here</div>\r\n", RSA) == ["neutral"]


@pytest.mark.parametrize(("bits", "expected"), [(512, "policy"), (768, "policy"), (1023, "policy"), (1024, "pass")])
def test_l05_short_keys(bits: int, expected: str) -> None:
    key = signer(bits=bits) if bits >= 1024 else small_rsa(bits)
    assert verdicts(key.sign(MAIL), key) == [expected]


def test_l05_sha1_a_key_with_more_behind_it_and_ed25519() -> None:
    assert verdicts(RSA.sign(MAIL, algorithm="rsa-sha1"), RSA) == ["policy"]
    longer = f"v=DKIM1; p={base64.b64encode(RSA.public + b'more').decode()}".encode()
    assert verdicts(RSA.sign(MAIL), records={RSA.name: (longer,)}) == ["permerror"]
    ed = signer("ed25519")
    assert verdicts(ed.sign(MAIL), ed) == ["pass"]


class _Counted:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.verified = 0
        self.octets = 0
        self.fields = 0
        verifies, relaxed = PublicKey.verifies, canonical.relaxed_field

        def counted(key: PublicKey, signature: bytes, octets: bytes) -> bool:
            self.verified += 1
            self.octets += len(octets)
            return verifies(key, signature, octets)

        def put_into_form(name: bytes, raw: bytes) -> bytes:
            self.fields += 1
            return relaxed(name, raw)

        monkeypatch.setattr(PublicKey, "verifies", counted)
        monkeypatch.setattr(header, "relaxed_field", put_into_form)


def test_l06_a_thousand_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _Counted(monkeypatch)
    message = MAIL
    for _ in range(3):
        message = RSA.sign(message)
    head, _, rest = message.partition(b"From:")
    many = head * 334 + b"From:" + rest
    found = verdicts(many, RSA)
    assert found == ["pass"] * 8 + ["neutral"] and counted.verified == 8
    assert Verification(many, NOW).key_names == {RSA.name}


def test_l06_each_field_is_put_into_its_form_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _Counted(monkeypatch)
    many = b"".join(b"X-%d: %s\r\n" % (n % 90, b"y" * 400) for n in range(1800)) + MAIL
    names = ["from", *(f"x-{n}" for n in range(90))]
    head = RSA.sign(many, h=names).partition(b"X-0")[0]
    message = head * 8 + many
    assert verdicts(message, RSA) == ["pass"] * 8
    # 91 fields and one b= for each of the eight.
    assert counted.fields == 91 + 8
    assert counted.octets < 8 * 50_000


@pytest.mark.parametrize(
    "tag", ["h=" + ":".join(["from"] * 10_000), "h=from:" + "x:" * 7000 + "y", "i=a@other.test", "s=" + "a" * 20_000]
)
def test_l06_no_key_is_asked_for(tag: str) -> None:
    verification = Verification(RSA.sign(MAIL, tags=[tag]), NOW)
    assert verification.key_names == frozenset()
    assert [result.result for result in verification.results(verification.check({}))] == ["permerror"]


def test_l06_a_large_key_record() -> None:
    record = RSA.record.encode() + b"; n=" + b"x" * 65_536
    assert verdicts(RSA.sign(MAIL), records={RSA.name: (record,)}) == ["permerror"]


def _agree(seeds: Sequence[int]) -> None:
    """The naive signer and the verifier read every message alike."""
    for seed in seeds:
        chance = random.Random(seed)
        made = random_mail(chance, [RSA, signer("ed25519", domain="other.test")])
        assert verdicts(made.signed, *made.signers)[0] == "pass", seed
        expected = "pass" if made.still_good else "fail"
        assert verdicts(made.relayed, *made.signers)[0] == expected, (seed, made.change)


def test_l07_two_readers_agree() -> None:
    _agree(range(300))


@pytest.mark.soak
def test_l07_two_readers_agree_on_100_000_messages() -> None:
    _agree(range(1_000, 101_000))
