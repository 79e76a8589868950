"""TLS from the start and by STARTTLS, on both event loops (ATTACKS C02, C05, C06)."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from mailserver.model.events import SessionClosed, SessionOpened
from tests.helpers.imap import AsyncImap, Closed
from tests.helpers.imap_service import PASSWORD, ImapHarness, until


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> _Run:
    """Runs a coroutine function on one of the loops."""

    def runner(main: Callable[[], Awaitable[None]]) -> None:
        async def wrapped() -> None:
            async with asyncio.timeout(60):
                await main()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as loop:
            loop.run(wrapped())

    return runner


async def _starttls(imap: AsyncImap) -> None:
    await imap.ok("STARTTLS")
    await imap.writer.start_tls(_context())


def test_tls_from_the_start(run: _Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            ImapHarness(data_dir=tmp_path) as server,
            AsyncImap(server.port("imaps"), tls=_context()) as imap,
        ):
            assert b"STARTTLS" not in imap.greeting and b"LOGINDISABLED" not in imap.greeting
            assert (await imap.command("STARTTLS")).status == "BAD"
            await imap.ok(f'LOGIN anna "{PASSWORD}"')

    run(main)


def test_many_handshakes_at_once(run: _Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server:

            async def one() -> None:
                async with AsyncImap(server.port("imaps"), tls=_context()) as imap:
                    await imap.ok("NOOP")

            await asyncio.gather(*(one() for _ in range(20)))

    run(main)


class _Records:
    """A TLS client whose octets go out as the test wants them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.coming, self.going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = _context().wrap_bio(self.coming, self.going)

    async def more(self) -> None:
        data = await self.reader.read(65536)
        assert data, "the server hung up"
        self.coming.write(data)

    async def handshake(self) -> bytes:
        """Our last octets of it, not yet sent."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.writer.write(self.going.read())
                await self.more()
            else:
                return self.going.read()

    async def until(self, end: bytes) -> None:
        """Read on until the server said this."""
        said = b""
        while end not in said:
            try:
                said += self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self.more()


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_starttls_and_commands_in_any_pieces(run: _Run, tmp_path: Path, size: int, version: ssl.TLSVersion) -> None:
    """The end of the handshake and the first commands come in one piece (0), or cut anywhere: all are answered."""

    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server, server.client(None) as imap:
            await imap.ok("STARTTLS")
            client = _Records(imap.reader, imap.writer)
            client.tls.context.maximum_version = version
            out = await client.handshake()
            for number in range(3):
                client.tls.write(b"c%d NOOP\r\n" % number)
            client.tls.write(f'd LOGIN anna "{PASSWORD}"\r\ne SELECT IN'.encode())
            client.tls.write(b"BOX\r\n")
            out += client.going.read()
            for start in range(0, len(out), size or len(out)):
                imap.writer.write(out[start : start + (size or len(out))])
                await imap.writer.drain()
                if size:
                    await asyncio.sleep(0)
            await client.until(b"e OK")

    run(main)


def test_starttls_and_a_large_answer(run: _Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server:
            await server.deliver(b"a: b\r\n\r\n" + b"x" * 3_000_000)
            async with server.client(None) as imap:
                assert b"STARTTLS" in imap.greeting
                await _starttls(imap)
                assert b"STARTTLS" not in (await imap.ok("CAPABILITY")).untagged[0]
                await imap.ok(f'LOGIN anna "{PASSWORD}"')
                await imap.ok("SELECT INBOX")
                (body,) = (await imap.ok("FETCH 1 BODY.PEEK[]")).untagged
                assert len(body) > 3_000_000

    run(main)


@pytest.mark.parametrize("injected", [b"b NOOP\r\n", b'b LOGIN {4+}\r\nanna "correct horse"\r\n', b"b"])
def test_c02_octets_behind_starttls(run: _Run, tmp_path: Path, injected: bytes) -> None:
    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server, server.client(None) as imap:
            imap.writer.write(b"a STARTTLS\r\n" + injected)
            assert (await imap.response_line()).startswith(b"a BAD")
            assert (await imap.response_line()).startswith(b"* BYE")
            with pytest.raises(Closed):
                await imap.response_line()

    run(main)


def test_c02_octets_between_ok_and_the_handshake(run: _Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server, server.client(None) as imap:
            await imap.ok("STARTTLS")
            imap.writer.write(b'b LOGIN anna "correct horse"\r\n')
            # Whatever TLS says to that, it is no answer to the command.
            with pytest.raises((Closed, asyncio.TimeoutError)):
                assert b"b OK" not in await imap.response_line()

    run(main)


def test_c05_no_login_in_clear(run: _Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            ImapHarness(data_dir=tmp_path, auth={"allow_plaintext_from": []}) as server,
            server.client(None) as imap,
        ):
            assert b"LOGINDISABLED" in imap.greeting and b"AUTH=" not in imap.greeting
            assert (await imap.command(f'LOGIN anna "{PASSWORD}"')).code("PRIVACYREQUIRED") == ""
            plain = base64.b64encode(f"\0anna\0{PASSWORD}".encode()).decode()
            assert (await imap.command(f"AUTHENTICATE PLAIN {plain}")).code("PRIVACYREQUIRED") == ""
            assert (await imap.command("SELECT INBOX")).status == "BAD"
            await _starttls(imap)
            await imap.ok(f"AUTHENTICATE PLAIN {plain}")

    run(main)


def test_c06_what_was_said_before_tls_is_forgotten(run: _Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server, server.client() as imap:
            assert (await imap.command("STARTTLS")).status == "BAD"

    run(main)


@pytest.mark.parametrize("octets", [b"x LOGIN in clear\r\n", b""], ids=["no TLS", "closed"])
def test_a_handshake_that_fails_gives_the_connection_back(run: _Run, tmp_path: Path, octets: bytes) -> None:
    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server:
            async with server.client(None) as imap:
                await imap.ok("STARTTLS")
                imap.writer.write(octets)
            await until(lambda: not server.connections)
            assert not server.server.services.watch
            assert [type(event) for event in server.events][-2:] == [SessionOpened, SessionClosed]

    run(main)


def test_c08_starttls_of_a_client_that_speaks_another_protocol(run: _Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with ImapHarness(data_dir=tmp_path) as server, server.client(None) as imap:
            await imap.ok("STARTTLS")
            other = _context()
            other.set_alpn_protocols(["http/1.1"])
            with pytest.raises((ConnectionError, ssl.SSLError, Closed)):
                await imap.writer.start_tls(other, server_hostname="localhost")
                await imap.command("NOOP")

    run(main)
