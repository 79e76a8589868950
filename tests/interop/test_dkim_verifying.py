"""What we think of signed messages against what dkimpy, opendkim and mailauth think: no difference without a reason
(ATTACKS L07)."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailserver.mime.dkim.chain import Chain
from mailserver.mime.dkim.verifying import Verification
from mailserver.mime.headers import header_block_end
from mailserver.model.findings import AuthResult
from tests.helpers.random_mail import random_mail
from tests.helpers.signing import Signer, seal, signer, split
from tests.interop.programs import needs
from tests.interop.second_opinions import PYTHON, dkimpy, mailauth, mailauth_there, opendkim

pytestmark = pytest.mark.interop
fetched = pytest.mark.skipif(not mailauth_there(), reason="not fetched: get-node-clients")

NOW = 1_795_000_000.0
RSA, WEAK, ED = signer(), signer(bits=1024, domain="weak.test"), signer("ed25519", domain="other.test")
SIGNERS = (RSA, WEAK, ED)
RECORDS = {each.name: each.record for each in SIGNERS}
MAIL = b"From: anna@signer.test\r\nTo: b@far.test\r\nSubject: h\r\nDate: x\r\n\r\nHello\r\n"


def ours(message: bytes, records: dict[str, str]) -> tuple[AuthResult, ...]:
    verification = Verification(message, NOW)
    digests = verification.check({name: _record(records, name) for name in verification.key_names})
    digests.feed(message[header_block_end(message) :])
    digests.end()
    return verification.results(digests)


def our_chain(message: bytes) -> str:
    chain = Chain(message, NOW)
    digests = chain.check({name: _record(RECORDS, name) for name in chain.key_names})
    digests.feed(message[header_block_end(message) :])
    digests.end()
    return chain.result(digests).result


def _record(records: dict[str, str], name: str) -> tuple[bytes, ...]:
    return (records[name].encode(),) if name in records else ()


def messages(seeds: Sequence[int], *signers: Signer) -> list[bytes]:
    found = []
    for seed in seeds:
        made = random_mail(random.Random(seed), signers or SIGNERS)
        found += [made.signed, made.relayed]
    return found


def mend(message: bytes) -> bytes:
    """Without what only the change of a signature's own field made: text behind the end of its base64, which others
    pass over. RFC 6376 §2.10 has no such thing."""
    return message.replace(b"=x\r\n", b"=\r\n")


def for_opendkim(message: bytes) -> bool:
    """Can opendkim see this header as it is? To a milter a value comes without the space in front of it, and is given
    one back, so it cannot check the simple form where there was not one space. Values that are empty, or begin with a
    colon, it reads wrongly; and a line that is a dot ends a file for it."""
    fields, _ = split(message)
    if b"\r\n.\r\n" in message:
        return False
    values = [field.partition(b":")[2] for field in fields]
    if any(value.strip()[:1] in (b"", b":") for value in values):
        return False
    return b" c=relaxed/" in message or all(re.match(rb" [^ \t\r\n]", value) for value in values)


def compare_dkimpy(seeds: Sequence[int], home: Path) -> None:
    made = [mend(each) for each in messages(seeds)]
    opinions = dkimpy(home, RECORDS, made)
    if opinions is None:
        pytest.skip("not installed: python3-dkim")
    assert len(opinions) == len(made)
    for message, (good, _) in zip(made, opinions, strict=True):
        first = ours(message, RECORDS)[0]
        if good is not None and first.value("header.a") != "ed25519-sha256":
            assert (first.result == "pass") is good, (first, message)


def compare_opendkim(seeds: Sequence[int], home: Path) -> None:
    # It reads RSA alone, and of one message one signature.
    made = [mend(each) for each in messages(seeds, RSA, WEAK) if each.lower().count(b"dkim-signature:") == 1]
    made = [message for message in made if for_opendkim(message)]
    assert len(made) > len(seeds) / 4
    for message, good in zip(made, opendkim(home, RECORDS, made), strict=True):
        (result,) = ours(message, RECORDS)
        assert (result.result == "pass") is good, (result, message)


def compare_mailauth(seeds: Sequence[int], home: Path) -> None:
    made = [mend(each) for each in messages(seeds)]
    for message, theirs in zip(made, mailauth(home, RECORDS, made), strict=True):
        mine = {result.value("header.b") for result in ours(message, RECORDS) if result.result == "pass"}
        assert mine == {b for b, result in theirs["dkim"].items() if result == "pass"}, message


@needs(PYTHON)
def test_dkimpy(tmp_path: Path) -> None:
    compare_dkimpy(range(200), tmp_path)


@needs("opendkim")
def test_opendkim(tmp_path: Path) -> None:
    compare_opendkim(range(200), tmp_path)


@fetched
def test_mailauth(tmp_path: Path) -> None:
    compare_mailauth(range(200), tmp_path)


@pytest.mark.soak
@needs(PYTHON, "opendkim")
@fetched
@pytest.mark.parametrize("compare", [compare_dkimpy, compare_opendkim, compare_mailauth])
def test_thousands_of_messages(compare: object, tmp_path: Path) -> None:
    assert callable(compare)
    compare(range(1_000, 6_000), tmp_path)


def chains(seeds: Sequence[int]) -> list[bytes]:
    """Messages with chains of one to four sets, most of them changed on the way, or with something wrong."""
    found = []
    for seed in seeds:
        chance = random.Random(seed)
        message = mend(random_mail(chance, SIGNERS).signed)
        for number in range(1, chance.randint(2, 5)):
            by = chance.choice((RSA, WEAK))
            cv = chance.choice(["", "", "", "", "fail", "none", "pass"])
            message = seal(message, by, number, cv=cv, c=chance.choice(["relaxed/relaxed", "simple/simple"]))
            if chance.random() < 0.3:
                message = b"Received: from a relay; today\r\n" + message
            if chance.random() < 0.2:
                message += b"-- \r\nlist\r\n"
        if chance.random() < 0.4:
            place = message.rindex(b"ARC-") if chance.random() < 0.5 else chance.randrange(len(message) - 2)
            message = message[:place] + b"x" + message[place + 1 :]
        found.append(message)
    return found


def sealed_alike(messages: Sequence[bytes], theirs: Sequence[str]) -> None:
    results = [our_chain(message) for message in messages]
    assert results.count("pass") > len(results) / 10
    for message, mine, other in zip(messages, results, theirs, strict=True):
        assert (mine == "pass") is (other == "pass"), (mine, other, message)


@needs(PYTHON)
def test_chains_and_dkimpy(tmp_path: Path) -> None:
    made = chains(range(100))
    opinions = dkimpy(tmp_path, RECORDS, made)
    if opinions is None:
        pytest.skip("not installed: python3-dkim")
    sealed_alike(made, [arc for _, arc in opinions])


@fetched
def test_chains_and_mailauth(tmp_path: Path) -> None:
    made = chains(range(100))
    sealed_alike(made, [each["arc"] for each in mailauth(tmp_path, RECORDS, made)])


@pytest.mark.soak
@needs(PYTHON)
@fetched
def test_thousands_of_chains(tmp_path: Path) -> None:
    made = chains(range(1_000, 4_000))
    sealed_alike(made, [each["arc"] for each in mailauth(tmp_path, RECORDS, made)])
    opinions = dkimpy(tmp_path, RECORDS, made)
    if opinions is not None:
        sealed_alike(made, [arc for _, arc in opinions])


_EVERYBODY = {"dkimpy", "mailauth", "opendkim"}
_P = RSA.record.partition("p=")[2]
#: What is no pass here: message, key record, and who takes the signature for good all the same.
_STRICTER: dict[str, tuple[bytes, str, set[str]]] = {
    "text behind the signed part (RFC 6376 §8.2)": (RSA.sign(MAIL, limit=7) + b"more\r\n", RSA.record, _EVERYBODY),
    "expired (§3.5, x=)": (RSA.sign(MAIL, tags=["x=1790000000"]), RSA.record, set()),
    "from the future (§3.5, t=)": (RSA.sign(MAIL, tags=["t=1990000000"]), RSA.record, {"mailauth"}),
    "ends before it begins (§3.5, x=)": (RSA.sign(MAIL, tags=["t=1990000000", "x=1980000000"]), RSA.record, set()),
    "identity elsewhere (§6.1.1)": (RSA.sign(MAIL, tags=["i=a@other.test"]), RSA.record, set()),
    "author not signed (§6.1.1)": (RSA.sign(MAIL, h=["to"]), RSA.record, {"dkimpy"}),
    "two authors (§8.15)": (RSA.sign(b"From: b@far.test\r\n" + MAIL), RSA.record, {"mailauth", "opendkim"}),
    "key for the domain alone (§3.6.1, t=s)": (
        RSA.sign(MAIL, tags=["i=a@x.signer.test"]), f"v=DKIM1; t=s; p={_P}", {"dkimpy"}
    ),
    "key for another service (§3.6.1, s=)": (RSA.sign(MAIL), f"v=DKIM1; s=other; p={_P}", set()),
    "key for SHA-1 (§3.6.1, h=)": (RSA.sign(MAIL), f"v=DKIM1; h=sha1; p={_P}", {"dkimpy"}),
    "revoked key (§3.6.1, p=)": (RSA.sign(MAIL), "v=DKIM1; p=", set()),
    "key of another version (§3.6.1, v=)": (RSA.sign(MAIL), f"v=DKIM2; p={_P}", set()),
    "version of the signature (§3.5, v=)": (RSA.sign(MAIL, tags=["v=2"]), RSA.record, set()),
    "key not by DNS (§3.5, q=)": (RSA.sign(MAIL, tags=["q=http"]), RSA.record, set()),
    "101 fields in h=": (RSA.sign(MAIL, h=["from", *(f"x-{n}" for n in range(100))]), RSA.record, _EVERYBODY),
    "more behind the base64 (§2.10)": (RSA.sign(MAIL, last="=x"), RSA.record, set()),
}  # fmt: skip


@needs(PYTHON, "opendkim")
@fetched
@pytest.mark.parametrize("case", _STRICTER)
def test_where_we_are_stricter(case: str, tmp_path: Path) -> None:
    message, record, believers = _STRICTER[case]
    records = {RSA.name: record}
    assert ours(message, records)[0].result != "pass"
    opinions = dkimpy(tmp_path, records, [message])
    if opinions is None:
        pytest.skip("not installed: python3-dkim")
    good = {"dkimpy"} if opinions[0][0] else set()
    good |= {"opendkim"} if opendkim(tmp_path, records, [message])[0] else set()
    good |= {"mailauth"} if "pass" in mailauth(tmp_path, records, [message])[0]["dkim"].values() else set()
    assert good == believers
