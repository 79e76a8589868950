"""DKIM signatures of others: what they are worth (RFC 6376 §6, RFC 8301, RFC 8463, RFC 8616)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.dkim.canonical import BodyDigests, BodyForm
from mailserver.mime.dkim.verifying import Verification
from mailserver.mime.headers import header_block_end
from mailserver.model.findings import AuthResult
from tests.helpers.signing import Signer, canonical_body, signer, small_rsa

VECTORS = Path(__file__).parents[2] / "vectors" / "dkim"
NOW = 1_700_000_000.0
MAIL = (
    b"From: Anna <anna@signer.test>\r\nTo: b@far.test\r\nSubject:  a \t long\r\n\t subject \r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@signer.test>\r\n\r\n"
    b" Some  text\t\r\n\r\nmore \r\n\r\n\r\n"
)
RSA = signer()
Records = Mapping[str, "tuple[bytes, ...] | None"]


def verify(message: bytes, records: Records, now: float = NOW, piece: int = 1 << 20) -> tuple[AuthResult, ...]:
    verification = Verification(message, now)
    given = {name: records.get(name, ()) for name in verification.key_names}
    digests = verification.check(given)
    body = message[header_block_end(message) :]
    for start in range(0, len(body), piece):
        digests.feed(body[start : start + piece])
    digests.end()
    return verification.results(digests)


def keys(*signers: Signer) -> dict[str, tuple[bytes, ...] | None]:
    return {each.name: (each.record.encode(),) for each in signers}


def outcome(message: bytes, records: Records | None = None, now: float = NOW) -> tuple[str, str]:
    (result,) = verify(message, keys(RSA) if records is None else records, now)
    return result.result, result.reason


def with_record(text: str, sign: Signer = RSA) -> dict[str, tuple[bytes, ...] | None]:
    return {sign.name: (text.encode(),)}


def test_no_signature() -> None:
    assert verify(MAIL, {}) == (AuthResult(method="dkim", result="none"),)
    assert verify(b"", {}) == (AuthResult(method="dkim", result="none"),)


@pytest.mark.parametrize("c", ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"])
@pytest.mark.parametrize("sign", [RSA, signer("ed25519")], ids=["rsa", "ed25519"])
def test_each_form_and_algorithm(c: str, sign: Signer) -> None:
    message = sign.sign(MAIL, c=c, tags=["i=Anna@mail.signer.test"])
    (result,) = verify(message, keys(sign))
    assert (result.result, result.reason) == ("pass", "")
    assert [(name, value) for name, value in result.properties if name != "header.b"] == [
        ("header.d", "signer.test"), ("header.i", "Anna@mail.signer.test"), ("header.s", "s"),
        ("header.a", f"{sign.kind}-sha256"),
    ]  # fmt: skip
    b = message.partition(b"\r\n b=")[2][:8].decode()
    assert result.value("header.b") == b
    for old, new in ((b"From: Anna", b"From: Anne"), (b" Some", b" None"), (b"more", b"more\r\n  x")):
        (result,) = verify(message.replace(old, new, 1), keys(sign))
        assert result.result == "fail"
    # A form that is relaxed lets relays fold anew, and one that is simple does not.
    header, _, body = c.partition("/")
    (result,) = verify(message.replace(b"Subject:  a", b"SUBJECT : a"), keys(sign))
    assert result.result == ("pass" if header == "relaxed" else "fail")
    (result,) = verify(message.replace(b"Some  text", b"Some text"), keys(sign))
    assert result.result == ("pass" if body == "relaxed" else "fail")
    (result,) = verify(message + b"\r\n\r\n", keys(sign))
    assert result.result == "pass"


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.txt")), ids=lambda path: path.stem)
def test_vectors(path: Path) -> None:
    records, _, message = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").partition(b"\r\n\r\n")
    table: dict[str, tuple[bytes, ...] | None] = {}
    for line in records.split(b"\r\n"):
        name, _, text = line.partition(b" ")
        table[name.decode()] = (text,)
    (first, *_) = found = verify(message, table, 1_667_900_000.0)
    assert {result.result for result in found} == {"pass"}
    assert first.value("header.d")
    assert {result.result for result in verify(message + b"x", table, 1_667_900_000.0)} == {"fail"}


@given(
    st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"\r", b"\n", b" \r\n", b"xy z"]), max_size=30),
    st.integers(1, 7), st.integers(0, 40),
)  # fmt: skip
def test_any_body_in_any_form_in_any_pieces(tokens: list[bytes], piece: int, limit: int) -> None:
    body = b"".join(tokens)
    forms = [BodyForm(relaxed, most) for relaxed in (False, True) for most in (None, limit, 0)]
    digests = BodyDigests(forms)
    for start in range(0, len(body), piece):
        digests.feed(body[start : start + piece])
    digests.end()
    for form in forms:
        expected = canonical_body(body, relaxed=form.relaxed)
        assert digests.length(form) == len(expected)
        expected = expected if form.limit is None else expected[: form.limit]
        assert digests.digest(form) == hashlib.sha256(expected).digest()


# what signatures say


@pytest.mark.parametrize(
    ("tags", "drop", "result", "words"),
    [
        ([], ["v"], "permerror", "no v="),
        (["v=2"], [], "neutral", "version"),
        ([], ["a"], "permerror", "no a="),
        (["a=rsa-sha512"], [], "neutral", "algorithm"),
        (["a=rsa-sha1"], [], "policy", "SHA-1"),
        (["a=ed25519-sha256"], [], "permerror", "another kind"),
        ([], ["d"], "permerror", "no d="),
        (["d=[192.0.2.1]"], [], "permerror", "no domain"),
        (["d=a..b"], [], "permerror", "no domain"),
        (["d=signer.test'x"], [], "permerror", "no domain"),
        ([], ["s"], "permerror", "no s="),
        (["s=a/b"], [], "permerror", "selector"),
        (["s=a\0b"], [], "permerror", "selector"),
        (["s=" + "a." * 120 + "a"], [], "permerror", "selector"),
        ([], ["h"], "permerror", "no h="),
        (["h=to:subject"], [], "permerror", "From"),
        (["h=from::to"], [], "permerror", "not valid"),
        (["h=from:" + "x:" * 100 + "to"], [], "permerror", "more than 100"),
        ([], ["bh"], "permerror", "no bh="),
        (["bh=AAAA"], [], "permerror", "bh="),
        (["bh=A!A="], [], "permerror", "bh="),
        (["c=nowsp"], [], "neutral", "canonical"),
        (["c=relaxed/nowsp"], [], "neutral", "canonical"),
        (["q=http"], [], "neutral", "DNS"),
        (["q=http:dns/txt"], [], "pass", ""),
        (["i=anna@other.test"], [], "permerror", "identity"),
        (["i=anna@notsigner.test"], [], "permerror", "identity"),
        (["i=anna@"], [], "permerror", "no domain"),
        (["l=x"], [], "permerror", "l= is not a number"),
        (["t=-1"], [], "permerror", "t= is not a number"),
        (["x=" + "9" * 40], [], "permerror", "x= is not a number"),
        (["t=100", "x=100"], [], "permerror", "before"),
        (["x=1600000000"], [], "policy", "expired"),
        (["t=1800000000"], [], "policy", "future"),
        (["unknown=x", "z=From:y|To:x"], [], "pass", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_signature(tags: list[str], drop: list[str], result: str, words: str) -> None:
    found, reason = outcome(RSA.sign(MAIL, tags=tags, drop=drop))
    assert (found, words in reason) == (result, True), (found, reason)


@pytest.mark.parametrize("value", [b": v=1; v=1", b": ;;", b":", b" : x", b": =x", b": v=1; 1=x"])
def test_no_list_of_tags(value: bytes) -> None:
    assert outcome(b"DKIM-Signature" + value + b"\r\n" + MAIL)[0] == "permerror"


def test_the_edges_of_time() -> None:
    message = RSA.sign(MAIL, tags=[f"t={int(NOW)}", f"x={int(NOW) + 1000}"])
    for now, result in ((NOW - 299, "pass"), (NOW - 301, "policy"), (NOW + 1299, "pass"), (NOW + 1301, "policy")):
        assert outcome(message, now=now)[0] == result


def test_part_of_the_body() -> None:
    length = len(canonical_body(MAIL.partition(b"\r\n\r\n")[2], relaxed=True))
    assert outcome(RSA.sign(MAIL, limit=length))[0] == "pass"
    whole = RSA.sign(MAIL, limit=length)
    assert outcome(whole + b"<p>evil</p>\r\n") == (
        "neutral", f"only the first {length} of {length + 17} octets of the body are signed (l=)"
    )  # fmt: skip
    assert outcome(RSA.sign(MAIL, limit=0))[0] == "neutral"
    assert outcome(RSA.sign(MAIL, limit=4).replace(b"Some", b"None"))[0] == "fail"
    assert outcome(RSA.sign(MAIL, tags=[f"l={length + 1}"]))[0] == "permerror"


# what keys say


@pytest.mark.parametrize(
    ("tags", "result", "words"),
    [
        ("p={p}", "pass", ""),
        ("v=DKIM1;p={p};", "pass", ""),
        (" v = DKIM1 ; k = rsa ; s = email ; h = sha1 : sha256 ; n = notes = x ; p = {p} ", "pass", ""),
        ("v=DKIM1; s=*; t=s; p={p}", "pass", ""),
        ("v=DKIM1; t=y:s; p={p}", "pass", "tries DKIM out"),
        ("v=DKIM2; p={p}", "permerror", "not valid"),
        ("v=DKIM1", "permerror", "not valid"),
        ("p={p}; p={p}", "permerror", "not valid"),
        ("v=spf1 -all", "permerror", "not valid"),
        ("v=DKIM1; p=", "permerror", "revoked"),
        ("v=DKIM1; p=AAAA", "permerror", "not valid"),
        ("v=DKIM1; p={p}AAAA", "permerror", "not valid"),
        ("v=DKIM1; h=sha1; p={p}", "permerror", "SHA-256"),
        ("v=DKIM1; s=tlsrpt; p={p}", "permerror", "e-mail"),
        ("v=DKIM1; k=ed25519; p={p}", "permerror", "not valid"),
        ("v=DKIM1; k=dsa; p={p}", "neutral", "kind"),
        ("v=DKIM1; n={n}; p={p}", "permerror", "too large"),
    ],
)
def test_key_records(tags: str, result: str, words: str) -> None:
    p = RSA.record.partition("p=")[2]
    found, reason = outcome(RSA.sign(MAIL), with_record(tags.format(p=p, n="x" * 60_000)))
    assert (found, words in reason) == (result, True), (found, reason)


def test_a_key_for_the_very_domain() -> None:
    record = RSA.record.replace("v=DKIM1;", "v=DKIM1; t=s;")
    assert outcome(RSA.sign(MAIL, tags=["i=a@mail.signer.test"]), with_record(record))[0] == "permerror"
    assert outcome(RSA.sign(MAIL, tags=["i=a@SIGNER.test"]), with_record(record))[0] == "pass"


def test_a_domain_that_tries_dkim_out() -> None:
    record = RSA.record.replace("v=DKIM1;", "v=DKIM1; t=y;")
    assert outcome(RSA.sign(MAIL) + b"x", with_record(record))[0] == "neutral"
    assert outcome(RSA.sign(MAIL).replace(b"Anna", b"Anne"), with_record(record))[0] == "neutral"


def test_several_records_and_none() -> None:
    message, good = RSA.sign(MAIL), RSA.record.encode()
    assert outcome(message, {RSA.name: (b"v=spf1 -all", good)})[0] == "pass"
    assert outcome(message, {RSA.name: (b"x",) * 4 + (good,)})[0] == "permerror"
    assert outcome(message, {RSA.name: ()}) == ("permerror", "DNS has no key of this name")
    assert outcome(message, {RSA.name: None}) == ("temperror", "the key could not be looked up now")


@pytest.mark.parametrize("bits", [512, 768, 1023])
def test_short_rsa_keys(bits: int) -> None:
    short = small_rsa(bits)
    assert outcome(short.sign(MAIL), keys(short)) == ("policy", f"an RSA key of {bits} bits proves nothing")


def test_weak_and_large_rsa_keys() -> None:
    weak, strong = signer(bits=1024), signer(bits=4096)
    assert outcome(weak.sign(MAIL), keys(weak)) == ("pass", "weak key of 1024 bits")
    assert outcome(strong.sign(MAIL), keys(strong)) == ("pass", "")
    for modulus, exponent in ((1 << 4096 | 1, 65537), (1 << 2047 | 1, 1 << 32 | 1)):
        public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
        record = f"v=DKIM1; p={base64.b64encode(der).decode()}"
        assert outcome(RSA.sign(MAIL), with_record(record)) == ("policy", "the RSA key is larger than keys are here")


# what messages do


def test_several_from_fields_or_none() -> None:
    message = RSA.sign(MAIL)
    assert outcome(message.replace(b"To:", b"From: evil@far.test\r\nTo:"))[0] == "permerror"
    assert outcome(b"From: evil@far.test\r\n" + message)[0] == "permerror"
    assert outcome(message.replace(b"From:", b"X-From:")) == ("permerror", "it has no From")


def test_fields_are_taken_from_the_bottom_up_and_oversigned_ones_cannot_be_added() -> None:
    twice = b"Received: one\r\nReceived: two\r\nReceived: three\r\n" + MAIL
    message = RSA.sign(twice, h=["received", "from", "received", "from", "subject"])
    assert outcome(message)[0] == "pass"
    assert outcome(b"Received: zero\r\n" + message)[0] == "pass"
    assert outcome(message.replace(b"two", b"2"))[0] == "fail"
    assert outcome(message.replace(b"one", b"1"))[0] == "pass"
    sealed = RSA.sign(MAIL, h=["from", "subject", "subject", "cc"])
    assert outcome(sealed)[0] == "pass"
    for more in (b"Subject: other\r\n", b"Cc: other@far.test\r\n"):
        assert outcome(more + sealed)[0] == "fail"


def test_a_signature_over_another_one_never_covers_itself() -> None:
    second = signer("ed25519", domain="relay.test")
    message = second.sign(RSA.sign(MAIL), h=["from", "dkim-signature", "dkim-signature"])
    first, last = verify(message, keys(RSA, second))
    assert (first.result, last.result) == ("pass", "pass")
    assert first.value("header.d") == "relay.test"


def test_where_the_signature_stands_in_its_field_does_not_matter() -> None:
    for c in ("simple/simple", "relaxed/relaxed"):
        for last in ("", ";", "; z=x", ";\r\n\tz=x\r\n\ty"):
            assert outcome(RSA.sign(MAIL, c=c, last=last))[0] == "pass", (c, last)


def test_u_labels_and_a_labels() -> None:
    idn = signer(domain="grün.test".encode("idna").decode(), selector="schlüssel".encode("idna").decode())
    message = idn.sign(MAIL, tags=["d=grün.test", "s=schlüssel", "i=änna@mail.grün.test"])
    (result,) = verify(message, keys(idn))
    assert result.result == "pass"
    assert result.value("header.d") == idn.domain
    assert result.value("header.i") == "änna@mail." + idn.domain


def test_a_message_that_is_a_header_only() -> None:
    head = MAIL.partition(b"\r\n\r\n")[0]
    assert outcome(RSA.sign(head + b"\r\n\r\n"))[0] == "pass"
    assert outcome(RSA.sign(head + b"\r\n"))[0] == "pass"
    assert outcome(RSA.sign(head + b"\r\n").removesuffix(b"\r\n"))[0] == "pass"


def test_properties_hold_nothing_that_is_not_what_it_says() -> None:
    for tags in (["d=a b.test"], ["d=x\r\n y.test"], ["d=signer.test(evil"]):
        (result,) = verify(RSA.sign(MAIL, tags=tags), keys(RSA))
        assert result.properties == ()
    (result,) = verify(RSA.sign(MAIL, tags=["i=a b;c@signer.test"]), keys(RSA))
    assert result.value("header.i") == ""


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_nothing_raises(head: bytes, record: bytes) -> None:
    for message in (b"DKIM-Signature: " + head, head, RSA.sign(MAIL).replace(b"s=s", b"s=s;" + head)):
        assert verify(message, dict.fromkeys([RSA.name, "s._domainkey.x"], (record,)))
