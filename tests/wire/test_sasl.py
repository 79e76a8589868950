"""SASL without I/O: known answers of RFC 7677 and RFC 4616, SASLprep of RFC 4013, and what must be refused."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.model.errors import InvalidInput
from mailserver.model.password import ScramVerifier
from mailserver.wire.sasl import (
    Credentials,
    SaslCancelled,
    SaslError,
    ScramServer,
    decode_base64,
    decode_initial,
    decode_response,
    make_verifier,
    parse_login_answer,
    parse_plain,
    usable,
)
from mailserver.wire.saslprep import saslprep

# RFC 7677 §3
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
VERIFIER = make_verifier("pencil", SALT, 4096)


def server(first: bytes = CLIENT_FIRST, nonce: bytes = SERVER_NONCE) -> ScramServer:
    scram = ScramServer(nonce)
    scram.receive_first(first)
    scram.challenge(VERIFIER)
    return scram


def client_final(
    first: bytes, server_first: bytes, password: bytes, binding: bytes | None = None, nonce: bytes | None = None
) -> bytes:
    """An honest client, unless `binding` or `nonce` say otherwise; it signs what it sends."""
    gs2, _, bare = first.partition(b",,")
    fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without = b"c=" + base64.b64encode(binding or gs2 + b",,") + b",r=" + (nonce or fields[b"r"])
    signed = b",".join((bare, server_first, without))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return without + b",p=" + base64.b64encode(proof)


def test_the_exchange_of_rfc_7677() -> None:
    scram = ScramServer(SERVER_NONCE)
    assert scram.receive_first(CLIENT_FIRST) == "user"
    assert scram.challenge(VERIFIER) == SERVER_FIRST
    assert scram.receive_final(CLIENT_FINAL) == SERVER_FINAL
    assert client_final(CLIENT_FIRST, SERVER_FIRST, b"pencil") == CLIENT_FINAL


@pytest.mark.parametrize("flag", [b"n", b"y"])
def test_clients_without_channel_binding_are_welcome(flag: bytes) -> None:
    first = flag + b",,n=user,r=abc"
    scram = server(first)
    final = client_final(first, scram._server_first, b"pencil")
    assert scram.receive_final(final).startswith(b"v=")


PLUS = b"p=tls-server-end-point,,n=user,r=abc"
BINDING = b"h" * 32


@pytest.mark.parametrize(("binding", "good"), [(BINDING, True), (b"x" * 32, False), (b"", False)])
def test_plus_binds_the_channel(binding: bytes, good: bool) -> None:
    scram = ScramServer(b"xyz", binding=BINDING, plus=True)
    scram.receive_first(PLUS)
    final = client_final(PLUS, scram.challenge(VERIFIER), b"pencil", PLUS.partition(b"n=")[0] + binding)
    if good:
        assert scram.receive_final(final).startswith(b"v=")
    else:
        with pytest.raises(SaslError) as refused:
            scram.receive_final(final)
        assert refused.value.status == "5.7.8"


@pytest.mark.parametrize(
    ("first", "plus"),
    [
        (PLUS, False),
        (PLUS.replace(b"p=", b"n#"), True),
        (b"n,,n=user,r=abc", True),
        (b"y,,n=user,r=abc", True),
        (b"p=tls-exporter,,n=user,r=abc", True),
        # Somebody in between took -PLUS out of the list (RFC 5802 §6).
        (b"y,,n=user,r=abc", False),
    ],
)
def test_bindings_that_do_not_fit_what_is_offered(first: bytes, plus: bool) -> None:
    with pytest.raises(SaslError):
        ScramServer(b"xyz", binding=BINDING, plus=plus).receive_first(first)


def test_where_plus_is_offered_a_client_may_still_know_nothing_of_it() -> None:
    assert ScramServer(b"xyz", binding=BINDING).receive_first(b"n,,n=user,r=abc") == "user"


def test_extensions_that_are_optional_are_signed_and_ignored() -> None:
    first = b"n,,n=user,r=abc,x=1"
    scram = server(first)
    assert scram.receive_final(client_final(first, scram._server_first, b"pencil")).startswith(b"v=")


def test_an_authorization_identity_must_be_the_user() -> None:
    assert ScramServer(b"x").receive_first(b"n,a=user,n=user,r=abc") == "user"
    with pytest.raises(SaslError):
        ScramServer(b"x").receive_first(b"n,a=admin,n=user,r=abc")


@pytest.mark.parametrize(("written", "user"), [(b"a=2Cb=3Dc", "a,b=c"), ("jürgen".encode(), "jürgen")])
def test_saslname(written: bytes, user: str) -> None:
    assert ScramServer(b"x").receive_first(b"n,,n=" + written + b",r=abc") == user


@pytest.mark.parametrize(
    "first",
    [
        b"", b"n", b"n,,", b"n,,n=user", b"n,,r=abc,n=user", b"n,,n=,r=abc", b"n,,n=user,r=", b"x,,n=user,r=abc",
        b"p=tls-unique,,n=user,r=abc", b"p=tls-exporter,,n=user,r=abc", b"p,,n=user,r=abc", b"n,,m=ext,n=user,r=abc",
        b"n,,n=us=er,r=abc", b"n,,n=us=2cer,r=abc", b"n,,n=us\0er,r=abc", b"n,,n=user,r=a\x7fc", b"n,,n=user,r=a c",
        b"n,,n=\xff,r=abc", b"n,,n=user,r=abc,", b"n,,n=user,r=" + b"a" * 5000, b"F,n,,n=user,r=abc",
        b"n,,n=user,r=abc\n",
    ],
)  # fmt: skip
def test_first_messages_that_are_refused(first: bytes) -> None:
    with pytest.raises(SaslError):
        ScramServer(b"x").receive_first(first)


@pytest.mark.parametrize(
    "final",
    [
        b"", b"c=biws", CLIENT_FINAL[:-1], CLIENT_FINAL + b",x=1", CLIENT_FINAL + b"\n",
        CLIENT_FINAL.replace(b"dHzb", b"dHzc"),
        CLIENT_FINAL.replace(b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", b"p=AAAA"),
        CLIENT_FINAL.replace(b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", b"p="),
        CLIENT_FINAL.replace(b"k0,p=", b"k1,p="),
    ],
)  # fmt: skip
def test_final_messages_that_are_refused(final: bytes) -> None:
    with pytest.raises(SaslError):
        server().receive_final(final)


def test_a_final_message_counts_once_and_never_before_the_challenge() -> None:
    scram = server()
    scram.receive_final(CLIENT_FINAL)
    with pytest.raises(SaslError):
        scram.receive_final(CLIENT_FINAL)
    fresh = ScramServer(SERVER_NONCE)
    fresh.receive_first(CLIENT_FIRST)
    with pytest.raises(SaslError):
        fresh.receive_final(CLIENT_FINAL)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=120))
def test_any_octets_end_in_an_answer_or_in_sasl_error(first: bytes, final: bytes) -> None:
    for prefix in (b"", b"n,,n=u,r=", b"c=biws,r="):
        scram = ScramServer(b"x")
        with contextlib.suppress(SaslError):
            scram.receive_first(prefix + first)
            scram.challenge(VERIFIER)
            scram.receive_final(prefix + final)
        for parse in (parse_plain, parse_login_answer, decode_base64, decode_response, decode_initial):
            with contextlib.suppress(SaslError):
                parse(first)


def test_verifiers() -> None:
    assert usable(VERIFIER)
    assert not usable(make_verifier("pencil", SALT, 4095))
    assert not usable(ScramVerifier(salt=b"short", iterations=4096, stored_key=b"k" * 32, server_key=b"k" * 32))
    assert not usable(ScramVerifier(salt=SALT, iterations=4096, stored_key=b"", server_key=b"k" * 32))
    assert "salt" not in repr(VERIFIER)


def test_plain_of_rfc_4616() -> None:
    assert parse_plain(b"\0tim\0tanstaaftanstaaf") == Credentials("tim", "tanstaaftanstaaf")
    assert parse_plain(b"tim\0tim\0x") == Credentials("tim", "x")
    assert parse_plain("\0jürgen\0pässword".encode()) == Credentials("jürgen", "pässword")
    assert "tim" not in repr(parse_plain(b"\0tim\0secret"))


@pytest.mark.parametrize(
    "message", [b"", b"\0", b"\0\0", b"\0u\0", b"\0\0p", b"u\0p", b"a\0u\0p", b"\0u\0p\0", b"\0u\0\xff", b"\0\xff\0p"]
)
def test_plain_that_is_refused(message: bytes) -> None:
    with pytest.raises(SaslError):
        parse_plain(message)


@pytest.mark.parametrize("message", [b"", b"a\0", b"\xff"])
def test_login_answers_that_are_refused(message: bytes) -> None:
    with pytest.raises(SaslError):
        parse_login_answer(message)


LAX = [
    b"AHVzZXI", b"AHVzZX I=", b" AHU=", b"AHU=\r\n", b"AH-_", b"AHV=", b"=AHU", b"AHU==", b"A", b"AHU=AHU=",
    b"\xff\xff\xff\xff", b"AHU=!", b"====",
]  # fmt: skip


@pytest.mark.parametrize("text", LAX)
def test_k07_lax_base64_is_refused(text: bytes) -> None:
    for decode in (decode_base64, decode_response, decode_initial):
        with pytest.raises(SaslError) as refused:
            decode(text)
        assert refused.value.status == "5.5.2"


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data)) == data


def test_cancelling_and_empty_responses() -> None:
    with pytest.raises(SaslCancelled):
        decode_response(b"*")
    assert decode_initial(b"=") == b""
    assert decode_response(b"") == b""
    with pytest.raises(SaslError):
        decode_response(b"=")


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013 §3
        ("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"),
        ("a\u00a0b", "a b"), ("e\u0301", "\u00e9"), ("😀", "😀"), ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
    ],
)  # fmt: skip
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared
    assert saslprep(prepared) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "a\0b", "a\x7f", "\ud800", "\ue000", "\u202ea", "a\u0627"])
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(InvalidInput):
        saslprep(text)
