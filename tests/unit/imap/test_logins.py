"""Logins without a password: bearer tokens that a plugin judges, and certificates of clients."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from pathlib import Path

import pytest
import trustme

from mailserver.hooks.contexts import AuthenticateContext, Authenticated, Denied
from mailserver.model.events import LoginFailed
from mailserver.model.ids import AccountId
from mailserver.wire.oauth import parse_oauthbearer, parse_xoauth2
from mailserver.wire.sasl import SaslError, make_verifier
from tests.helpers.imap import AsyncImap, Closed, Imap
from tests.helpers.imap_service import ANNA, ImapHarness

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
OAUTH = f"n,a=anna@example.test,\x01host=localhost\x01port=143\x01auth=Bearer {TOKEN}\x01\x01"
XOAUTH = f"user=anna@example.test\x01auth=Bearer {TOKEN}\x01\x01"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def judging(server: ImapHarness) -> list[AuthenticateContext]:
    """A plugin that takes the one token."""
    seen: list[AuthenticateContext] = []

    def judge(ctx: AuthenticateContext) -> Authenticated | Denied:
        seen.append(ctx)
        if ctx.token == TOKEN:
            return Authenticated(account=ANNA)
        return Denied(reason="expired", scope="mail", configuration="https://id.example.test/.well-known/openid")

    server.registry.authenticate(judge, mechanisms=("OAUTHBEARER", "XOAUTH2"))
    return seen


@pytest.mark.parametrize(("mechanism", "message"), [("OAUTHBEARER", OAUTH), ("XOAUTH2", XOAUTH)])
async def test_a_token(mechanism: str, message: str) -> None:
    server = ImapHarness()
    seen = judging(server)
    async with server, server.client(None) as imap:
        assert f"AUTH={mechanism}" in (await imap.ok("CAPABILITY")).untagged[0].decode()
        await imap.ok(f"AUTHENTICATE {mechanism} {encoded(message)}")
        assert [(ctx.user, ctx.token, ctx.password, ctx.mechanism) for ctx in seen] == [
            ("anna@example.test", TOKEN, "", mechanism)
        ]
        assert TOKEN not in repr(seen)
        await imap.ok("SELECT INBOX")


async def test_the_token_alone_says_who() -> None:
    server = ImapHarness()
    judging(server)
    async with server, server.client(None) as imap:
        await imap.ok(f"AUTHENTICATE OAUTHBEARER {encoded(OAUTH.replace('a=anna@example.test', ''))}")


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
async def test_a_token_that_is_not_good(mechanism: str) -> None:
    """RFC 7628 §3.2.3: why is said in a challenge, and the end comes after the client's answer."""
    server = ImapHarness()
    judging(server)
    async with server, server.client(None) as imap:
        message = (OAUTH if mechanism == "OAUTHBEARER" else XOAUTH).replace(TOKEN, "other")
        imap.writer.write(f"a AUTHENTICATE {mechanism}\r\n".encode())
        assert await imap.response_line() == b"+ "
        imap.writer.write(f"{encoded(message)}\r\n".encode())
        challenge = await imap.response_line()
        assert json.loads(base64.b64decode(challenge.removeprefix(b"+ "))) == {
            "status": "invalid_token", "scope": "mail",
            "openid-configuration": "https://id.example.test/.well-known/openid",
        }  # fmt: skip
        imap.writer.write(b"AQ==\r\n")
        assert (await imap.response_line()).startswith(b"a NO [AUTHENTICATIONFAILED]")
        (failed,) = [event for event in server.events if isinstance(event, LoginFailed)]
        assert failed.mechanism == mechanism and failed.reason == "expired" and "other" not in repr(failed)


async def test_a_good_token_of_somebody_else_is_not_good() -> None:
    server = ImapHarness()
    judging(server)
    async with server, server.client(None) as imap:
        imap.writer.write(f"a AUTHENTICATE OAUTHBEARER {encoded(OAUTH.replace('anna@', 'ben@'))}\r\n".encode())
        await imap.response_line()
        imap.writer.write(b"*\r\n")
        assert (await imap.response_line()).startswith(b"a BAD")


async def test_without_a_plugin_there_are_no_tokens_and_passwords_are_not_asked() -> None:
    async with ImapHarness() as server, server.client(None) as imap:
        line = (await imap.ok("CAPABILITY")).untagged[0].decode()
        assert "OAUTH" not in line and "EXTERNAL" not in line
        for mechanism in ("OAUTHBEARER", "XOAUTH2", "EXTERNAL"):
            assert (await imap.command(f"AUTHENTICATE {mechanism} =")).code("CANNOT") == ""
        asked: list[AuthenticateContext] = []
        server.registry.authenticate(asked.append)
        judging(server)
        await server.hooks.swap([server.registry])
        await imap.ok(f"AUTHENTICATE XOAUTH2 {encoded(XOAUTH)}")
        assert asked == []


@pytest.mark.parametrize(
    "message",
    [
        "", "n,,", "n,,\x01\x01", OAUTH[:-1], OAUTH.replace("Bearer", "Basic"), OAUTH.replace("n,", "p=tls-unique,"),
        OAUTH.replace("\x01host", "\x01auth=Bearer x\x01host"), OAUTH.replace("a=", "a==zz"), OAUTH + "x" * 20_000,
        OAUTH.replace(TOKEN, "a b"), OAUTH.replace(TOKEN, ""),
    ],
)  # fmt: skip
def test_what_is_no_oauthbearer(message: str) -> None:
    with pytest.raises(SaslError):
        parse_oauthbearer(message.encode())


@pytest.mark.parametrize("message", [b"", XOAUTH.encode()[:-2], b"user=\xff\x01auth=Bearer x\x01\x01", b"\x01\x01"])
def test_what_is_no_xoauth2(message: bytes) -> None:
    with pytest.raises(SaslError):
        parse_xoauth2(message)


# channel binding


async def test_scram_plus_over_tls(tmp_path: Path) -> None:
    server = ImapHarness(data_dir=tmp_path, auth={"scram_plus": True})
    server.scram["anna@example.test"] = make_verifier("pencil", b"s" * 16, 4096)
    async with server:
        async with server.client(None) as plain:
            assert b"PLUS" not in plain.greeting
        for tamper, status in ((b"", b"c OK"), (b"x", b"c NO")):
            async with AsyncImap(server.port("imaps"), "localhost", client_context(tmp_path, None)) as imap:
                assert b"AUTH=SCRAM-SHA-256-PLUS" in imap.greeting
                shown = imap.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                binding = hashlib.sha256(shown + tamper).digest()
                bare = "n=anna@example.test,r=abc"
                imap.writer.write(
                    f"c AUTHENTICATE SCRAM-SHA-256-PLUS {encoded('p=tls-server-end-point,,' + bare)}\r\n".encode()
                )
                first = base64.b64decode((await imap.response_line())[2:])
                channel = base64.b64encode(b"p=tls-server-end-point,," + binding)
                without = b"c=" + channel + b"," + first.partition(b",")[0]
                signed = b",".join((bare.encode(), first, without))
                key = hmac.digest(hashlib.pbkdf2_hmac("sha256", b"pencil", b"s" * 16, 4096), b"Client Key", "sha256")
                signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
                proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
                imap.writer.write(base64.b64encode(without + b",p=" + base64.b64encode(proof)) + b"\r\n")
                answer = await imap.response_line()
                if answer.startswith(b"+ "):
                    imap.writer.write(b"\r\n")
                    answer = await imap.response_line()
                assert answer.startswith(status)


# certificates


def client_context(directory: Path, authority: trustme.CA | None, *addresses: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(directory / ".server" / "tls" / "self-signed.crt"))
    if authority is not None:
        shown = authority.issue_cert(*addresses, key_type=trustme.KeyType.ECDSA)
        shown.configure_cert(context)
    return context


def certified(server: ImapHarness) -> None:
    """What the accounts plugin does."""

    def judge(ctx: AuthenticateContext) -> Authenticated | Denied:
        if ctx.user in ("anna@example.test", "ben@example.test", "\u212aati@example.test"):
            return Authenticated(account=AccountId(ctx.user))
        return Denied(reason="no account for this certificate")

    server.registry.authenticate(judge, mechanisms=("EXTERNAL",))


@pytest.mark.parametrize(
    ("addresses", "response", "account"),
    [
        (("anna@example.test",), "=", "anna@example.test"),
        (("Anna@example.test",), encoded("anna@example.test"), "anna@example.test"),
        (("anna@example.test",), encoded("ben@example.test"), None),
        (("kati@example.test",), encoded("\u212aati@example.test"), None),
        (("anna@example.test", "ben@example.test"), "=", None),
        (("anna@example.test", "ben@example.test"), encoded("ben@example.test"), "ben@example.test"),
        (("stranger@example.test",), "=", None),
    ],
)
async def test_a_certificate(
    tmp_path: Path, addresses: tuple[str, ...], response: str, account: str | None
) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ImapHarness(data_dir=tmp_path, tls={"client_ca_file": str(tmp_path / "ca.pem")})
    certified(server)
    async with (
        server,
        AsyncImap(server.port("imaps"), "localhost", client_context(tmp_path, authority, *addresses)) as imap,
    ):
        assert b"AUTH=EXTERNAL" in imap.greeting
        answer = await imap.command(f"AUTHENTICATE EXTERNAL {response}")
        assert answer.status == ("OK" if account else "NO")
        (connection,) = server.connections
        assert connection.session is not None and connection.session.account == account


async def test_nobody_needs_a_certificate_and_a_strange_one_is_refused(tmp_path: Path) -> None:
    authority, stranger = (trustme.CA(key_type=trustme.KeyType.ECDSA) for _ in range(2))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ImapHarness(data_dir=tmp_path, tls={"client_ca_file": str(tmp_path / "ca.pem")})
    certified(server)
    async with server:
        async with AsyncImap(server.port("imaps"), "localhost", client_context(tmp_path, None)) as imap:
            assert b"AUTH=PLAIN" in imap.greeting and b"EXTERNAL" not in imap.greeting
        context, port = client_context(tmp_path, stranger, "anna@example.test"), server.port("imaps")
        with pytest.raises((Closed, ssl.SSLError, ConnectionError)):
            # Blocking, as asyncio's streams leave a failed handshake to the garbage collector.
            await asyncio.to_thread(Imap, port, tls=context)
        await server.settled()
