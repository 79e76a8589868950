"""ATTACKS C: TLS and STARTTLS in SMTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import resource
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailserver.model.errors import InvalidInput
from mailserver.net.settings import TlsSettings
from mailserver.net.tls import TlsContexts, check_certificate
from tests.helpers.certs import Certificates, make_certificates
from tests.helpers.smtp import AsyncSmtp, Closed, Reply
from tests.helpers.smtp_service import DOMAIN, PASSWORD, SmtpHarness

NAME = "mail.example.test"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop,
}  # fmt: skip


def on(loop: str, main: Coroutine[Any, Any, None]) -> None:
    """Run on the named event loop: STARTTLS differs between them."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main)


@pytest.fixture
def contexts(certificates: Certificates, tmp_path: Path) -> TlsContexts:
    settings = TlsSettings(cert_file=str(certificates.cert_file), key_file=str(certificates.key_file))
    return TlsContexts(settings, tmp_path, NAME)


async def _starttls(smtp: AsyncSmtp, context: ssl.SSLContext) -> None:
    assert (await smtp.command("STARTTLS")).code == 220
    await smtp.writer.start_tls(context, server_hostname=NAME)


def _client_hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=NAME).do_handshake()
    return outgoing.read()


async def _rest(smtp: AsyncSmtp) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await smtp.reader.read(-1)
    return b""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("service", ["smtp", "submission"])
def test_c01_a_command_injected_behind_starttls(loop: str, service: str, contexts: TlsContexts) -> None:
    async def main() -> None:
        async with SmtpHarness(tls=contexts) as server, server.client(service) as smtp:
            assert (await smtp.command("EHLO client.test")).code == 250
            reply = await smtp.command(b"STARTTLS\r\nMAIL FROM:<x@far.test>\r\n")
            assert reply.code == 554
            assert await _rest(smtp) == b""

    on(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("wait", [0.001, 0.05])
def test_c01_a_command_injected_before_the_handshake(
    loop: str, wait: float, contexts: TlsContexts, certificates: Certificates
) -> None:
    async def main() -> None:
        async with SmtpHarness(tls=contexts) as server, server.client() as smtp:
            assert (await smtp.command("EHLO client.test")).code == 250
            smtp.writer.write(b"STARTTLS\r\n")
            await asyncio.sleep(wait)
            smtp.writer.write(b"MAIL FROM:<x@far.test>\r\n")
            reply = await smtp.reply()
            smtp.writer.write(_client_hello(certificates.client_context()))
            rest = await _rest(smtp)
            # Either both were in one segment (554, close), or TLS got the command and found that it is no handshake.
            assert (reply.code, rest) == (554, b"") or (reply.code == 220 and b"\r\n" not in rest and len(rest) < 64)
            await server.settled()

    on(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_starttls_and_implicit_tls_work(loop: str, contexts: TlsContexts, certificates: Certificates) -> None:
    async def main() -> None:
        client = certificates.client_context()
        plain = base64.b64encode(f"\0anna@{DOMAIN}\0{PASSWORD}".encode()).decode()
        async with SmtpHarness(tls=contexts, auth={"allow_plaintext_from": []}) as server:
            async with server.client() as smtp:
                assert "STARTTLS" in (await smtp.command("EHLO client.test")).lines
                await _starttls(smtp, client)
                lines = (await smtp.command("EHLO client.test")).lines
                assert "STARTTLS" not in lines and "REQUIRETLS" in lines
                assert (
                    await smtp.message("x@far.test", [f"anna@{DOMAIN}"], b"A: b\r\n\r\n" + b"x\r\n" * 99999)
                ).code == 250
            async with AsyncSmtp(server.port("submissions"), "127.0.0.1", client) as smtp:
                lines = (await smtp.command("EHLO client.test")).lines
                assert any(line.startswith("AUTH ") and " PLAIN" in line for line in lines)
                assert (await smtp.command(f"AUTH PLAIN {plain}")).code == 235
                reply = await smtp.message(
                    f"anna@{DOMAIN}", [f"anna@{DOMAIN}"], b"From: anna@example.test\r\n\r\nx\r\n"
                )
                assert reply.code == 250
            first, second = await server.mail("anna")
            assert b"with ESMTPS id" in first and b"with ESMTPSA id" in second and b"(using TLSv1.3" in second

    on(loop, main())


async def test_c05_no_login_without_tls(contexts: TlsContexts) -> None:
    plain = base64.b64encode(f"\0anna@{DOMAIN}\0{PASSWORD}".encode()).decode()
    async with SmtpHarness(tls=contexts, auth={"allow_plaintext_from": []}) as server:
        async with server.client("submission") as smtp:
            lines = (await smtp.command("EHLO client.test")).lines
            assert "STARTTLS" in lines and not any(line.startswith("AUTH") for line in lines)
            reply = await smtp.command(f"AUTH PLAIN {plain}")
            assert (reply.code, reply.status) == (538, "5.7.11")
            assert (await smtp.command(f"MAIL FROM:<anna@{DOMAIN}>")).code == 530
        assert not any(type(event).__name__ == "LoginSucceeded" for event in server.events)


async def test_c06_starttls_at_the_wrong_time(contexts: TlsContexts, certificates: Certificates) -> None:
    client = certificates.client_context()
    plain = base64.b64encode(f"\0anna@{DOMAIN}\0{PASSWORD}".encode()).decode()
    async with SmtpHarness(tls=contexts) as server:
        async with server.client("submission") as smtp:
            assert (await smtp.command("STARTTLS")).code == 503  # before EHLO
            assert (await smtp.command("EHLO client.test")).code == 250
            assert (await smtp.command("STARTTLS now")).code == 501
            assert (await smtp.command(f"AUTH PLAIN {plain}")).code == 235
            assert (await smtp.command("STARTTLS")).code == 503  # after AUTH
        async with server.client() as smtp:
            assert (await smtp.command("EHLO client.test")).code == 250
            assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
            assert (await smtp.command("STARTTLS")).code == 503  # in a transaction
            assert (await smtp.command("RSET")).code == 250
            await _starttls(smtp, client)
            assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 503  # EHLO is forgotten
            assert (await smtp.command("EHLO client.test")).code == 250
            assert (await smtp.command("STARTTLS")).code == 503  # twice


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_c07_old_versions_and_weak_suites(contexts: TlsContexts, certificates: Certificates) -> None:
    async def handshake(client: ssl.SSLContext) -> None:
        async with AsyncSmtp(server.port("submissions"), "127.0.0.1", client):
            pass

    async with SmtpHarness(tls=contexts) as server:
        await handshake(certificates.client_context())
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            old = certificates.client_context()
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version = old.maximum_version = version
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await handshake(old)
        for suites in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "NULL:eNULL:aNULL"):
            weak = certificates.client_context()
            weak.maximum_version = ssl.TLSVersion.TLSv1_2
            weak.set_ciphers(suites + ":@SECLEVEL=0")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await handshake(weak)
    context = contexts.context("smtp")
    assert context.options & ssl.OP_NO_COMPRESSION and context.options & ssl.OP_NO_RENEGOTIATION


def _rsa_certificate(path: Path, bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    made = make_certificates(path, NAME)
    leaf = x509.load_pem_x509_certificates(made.cert_file.read_bytes())[0]
    builder = x509.CertificateBuilder(
        issuer_name=leaf.subject, subject_name=leaf.subject, public_key=key.public_key(), serial_number=7,
        not_valid_before=leaf.not_valid_before_utc, not_valid_after=leaf.not_valid_after_utc,
    )  # fmt: skip
    made.cert_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def test_c07_short_rsa_keys(tmp_path: Path) -> None:
    _rsa_certificate(tmp_path, 2048)
    assert any("3072" in warning for warning in check_certificate(tmp_path / "cert.pem"))
    _rsa_certificate(tmp_path, 1024)
    with pytest.raises(InvalidInput, match="1024 bits"):
        check_certificate(tmp_path / "cert.pem")


async def test_c08_other_protocols_by_alpn(contexts: TlsContexts, certificates: Certificates) -> None:
    async with SmtpHarness(tls=contexts) as server:
        for offered in (["h2"], ["imap"], ["http/1.1"]):
            client = certificates.client_context()
            client.set_alpn_protocols(offered)
            with pytest.raises((ssl.SSLError, ConnectionError, Closed)):
                async with AsyncSmtp(server.port("submissions"), "127.0.0.1", client):
                    pass
        client = certificates.client_context()
        client.set_alpn_protocols(["smtp"])
        async with AsyncSmtp(server.port("submissions"), "127.0.0.1", client) as smtp:
            assert smtp.greeting.code == 220
        unknown = certificates.client_context()
        unknown.check_hostname = False
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port("submissions"), ssl=unknown, server_hostname="other.test"
        )
        assert (await reader.readline()).startswith(b"220 ")  # wrong SNI: the one certificate that there is
        writer.close()


def _resume(first: ssl.SSLContext, second: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """A session of `first` shown to `second`: was it taken?"""

    def handshake(server: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = server.wrap_bio(to_server, to_client, server_side=True)
        theirs = client.wrap_bio(to_client, to_server, server_hostname=NAME, session=session)
        for _ in range(6):
            for side in (theirs, ours):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        ours.write(b"x")
        theirs.read(1)
        return theirs.session, bool(theirs.session_reused)

    session, _ = handshake(first, None)
    return handshake(second, session)[1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_c09_a_ticket_is_good_for_its_listener_only(
    version: ssl.TLSVersion, contexts: TlsContexts, certificates: Certificates
) -> None:
    client = certificates.client_context()
    client.maximum_version = version
    smtp, submissions = contexts.context("smtp"), contexts.context("submissions")
    assert _resume(smtp, smtp, client)
    assert not _resume(smtp, submissions, client)


def test_c10_random_names_keep_memory_flat(contexts: TlsContexts, certificates: Certificates) -> None:
    context = contexts.context("smtp")
    client = certificates.client_context()
    client.check_hostname = False

    def hello(number: int) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        theirs = client.wrap_bio(to_client, to_server, server_hostname=f"h{number}.test")
        ours = context.wrap_bio(to_server, to_client, server_side=True)
        with contextlib.suppress(ssl.SSLWantReadError):
            theirs.do_handshake()
        with contextlib.suppress(ssl.SSLWantReadError):
            ours.do_handshake()

    for number in range(500):
        hello(number)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(500, 3000):
        hello(number)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096


@pytest.mark.parametrize("loop", LOOPS)
def test_c11_handshakes_that_are_never_finished(loop: str, contexts: TlsContexts, certificates: Certificates) -> None:
    async def main() -> None:
        limits = {"tls_handshake": "3s", "connections_per_network": [40, 90, 270]}
        async with SmtpHarness(tls=contexts, limits=limits) as server:
            listener = next(one for one in server.service.listeners if one.name == "submissions")
            half = [await asyncio.open_connection("127.0.0.1", server.port("submissions")) for _ in range(30)]
            for _, writer in half:
                writer.write(b"\x16\x03\x01\x02\x00\x01")
            async with AsyncSmtp(server.port("submissions"), "127.0.0.1", certificates.client_context()) as smtp:
                assert len(listener) == 31  # they count while they last
                assert smtp.greeting.code == 220
                gone = [await reader.read(1000) for reader, _ in half]
                assert gone == [b""] * 30
                assert (await smtp.command("NOOP")).code == 250
            for _, writer in half:
                writer.close()
            await server.settled()
            assert server.table.total == 0

    on(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("how", ["fin", "rst", "half a hello"])
def test_c11_starttls_and_then_nothing(loop: str, how: str, contexts: TlsContexts) -> None:
    async def main() -> None:
        async with SmtpHarness(tls=contexts, limits={"tls_handshake": "500ms"}) as server:
            tasks = len(asyncio.all_tasks())
            async with server.client() as smtp:
                assert (await smtp.command("EHLO client.test")).code == 250
                assert (await smtp.command("STARTTLS")).code == 220
                if how == "half a hello":
                    smtp.writer.write(b"\x16\x03\x01\x02\x00\x01")
                    assert await smtp.reader.read() == b""
                elif how == "rst":
                    sock = smtp.writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    smtp.writer.transport.abort()
            await server.settled()
            assert server.table.total == 0
            assert len(asyncio.all_tasks()) <= tasks

    on(loop, main())


def test_c11_many_handshakes_at_once(contexts: TlsContexts, certificates: Certificates) -> None:
    async def main() -> None:
        client = certificates.client_context()
        async with SmtpHarness(tls=contexts, limits={"trusted": ["127.0.0.0/8"]}) as server:

            async def one() -> Reply:
                async with AsyncSmtp(server.port("submissions"), "127.0.0.1", client) as smtp:
                    return await smtp.command("QUIT")

            assert {reply.code for reply in await asyncio.gather(*(one() for _ in range(100)))} == {221}

    on("uvloop", main())


async def test_c12_a_new_certificate_is_used_and_a_bad_one_refused(tmp_path: Path) -> None:
    old = make_certificates(tmp_path / "live", NAME)
    settings = TlsSettings(cert_file=str(old.cert_file), key_file=str(old.key_file))
    contexts = TlsContexts(settings, tmp_path, NAME)
    trust = old.client_context()

    async def works(client: ssl.SSLContext) -> bool:
        try:
            async with AsyncSmtp(server.port("submissions"), "127.0.0.1", client):
                return True
        except ssl.SSLError:
            return False

    async with SmtpHarness(tls=contexts) as server:
        assert await works(trust)
        key = old.key_file.read_bytes()
        for broken in (b"", b"no key", trustme.CA().private_key_pem.bytes()):
            old.key_file.write_bytes(broken)
            with pytest.raises(InvalidInput):
                contexts.reload()
            assert await works(trust)
        old.key_file.write_bytes(key)
        old.cert_file.unlink()
        with pytest.raises(InvalidInput):
            contexts.reload()
        assert await works(trust)
        new = make_certificates(tmp_path / "new", NAME)
        old.cert_file.write_bytes(new.cert_file.read_bytes())
        old.key_file.write_bytes(new.key_file.read_bytes())
        contexts.reload()
        assert await works(new.client_context())
        assert not await works(trust)


def _rss() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError


@pytest.mark.parametrize("service", ["smtp", "submissions"])
def test_c13_an_idle_tls_connection_is_small(
    service: str, contexts: TlsContexts, certificates: Certificates
) -> None:
    """Client and server are both in this process, so the bound is that of two."""

    async def main() -> None:
        client = certificates.client_context()
        limits = {"trusted": ["127.0.0.0/8"]}
        async with SmtpHarness(tls=contexts, limits=limits) as server, contextlib.AsyncExitStack() as stack:

            async def one() -> None:
                if service == "submissions":
                    await stack.enter_async_context(AsyncSmtp(server.port(service), "127.0.0.1", client))
                    return
                smtp = await stack.enter_async_context(server.client(service))
                assert (await smtp.command("EHLO client.test")).code == 250
                await _starttls(smtp, client)
                assert (await smtp.command("EHLO client.test")).code == 250

            for _ in range(20):
                await one()
            before = _rss()
            for _ in range(100):
                await one()
            assert (_rss() - before) / 100 < 2 * 60

    on("uvloop", main())
