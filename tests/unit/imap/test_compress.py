"""COMPRESS=DEFLATE (RFC 4978): what works through it, what it may cost, what is refused."""

from __future__ import annotations

import asyncio
import random
import ssl
import zlib
from pathlib import Path

import pytest

from mailserver.imap.connection.deflate import Deflater, Inflater
from mailserver.imap.connection.output import CHUNK, Output
from mailserver.net.settings import TlsSettings
from mailserver.net.tls import TlsContexts
from tests.helpers.imap import Closed
from tests.helpers.imap_deflate import compressed, deflated
from tests.helpers.imap_service import PASSWORD, ImapHarness, until

MESSAGE = b"Subject: x\r\n\r\n"


def test_what_is_inflated_is_what_was_deflated_in_pieces_of_any_size() -> None:
    text = random.Random(1).randbytes(3000) + b"a" * 40_000 + b"* 1 FETCH (FLAGS ())\r\n" * 500
    data = deflated(text)
    for received, asked in ((1, 7), (100, 1), (len(data), 64), (1000, 100_000)):
        inflater, got = Inflater(data[:received]), []
        for at in range(received, len(data) + received, received):
            while piece := inflater.take(asked):
                assert len(piece) <= asked
                got.append(piece)
            inflater.receive(data[at : at + received])
        assert b"".join(got) == text and inflater.held == 0


def test_a_stream_that_rested_goes_on() -> None:
    deflater, inflate = Deflater(3), zlib.decompressobj(-zlib.MAX_WBITS)
    for text in (b"* OK one\r\n", b"* OK two\r\n" * 1000, b"* OK three\r\n"):
        assert inflate.decompress(deflater.deflate(text)) == text
        deflater.rest()


def test_tls_does_not_compress(tmp_path: Path) -> None:
    context = TlsContexts(TlsSettings(), tmp_path, "localhost").context("imap")
    assert context.options & ssl.OP_NO_COMPRESSION


async def test_commands_idle_append_and_fetch() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await compressed(imap)
        await imap.ok("NOOP")
        imap.writer.write(b"i IDLE\r\n")
        assert (await imap.response_line()).startswith(b"+")
        await server.deliver(MESSAGE)
        assert await imap.response_line() == b"* 1 EXISTS"
        imap.writer.write(b"DONE\r\n")
        assert (await imap.response_line()).startswith(b"i OK")
        big = b"Subject: big\r\n\r\n" + b"0123456789\r\n" * 100_000
        imap.writer.write(b"a APPEND INBOX {%d}\r\n" % len(big))
        assert (await imap.response_line()).startswith(b"+")
        imap.writer.write(big + b"\r\n")
        assert b"EXISTS" in await imap.response_line()
        assert (await imap.response_line()).startswith(b"a OK")
        (line,) = (await imap.ok("FETCH 2 BODY.PEEK[]")).untagged
        assert line.endswith(big + b")")
        (connection,) = server.connections
        # The compressor rests when it had nothing to do, and nobody notices.
        for _ in range(2):
            connection.check(asyncio.get_running_loop().time())
        deflater = connection._output._deflater
        assert deflater is not None and deflater._stream is None
        await imap.ok("FETCH 1:2 FLAGS")


async def test_what_comes_right_behind_the_command_is_compressed() -> None:
    async with ImapHarness() as server, server.client() as imap:
        imap.writer.write(b"c COMPRESS deflate\r\n" + deflated(b"d NOOP\r\ne LOGOUT\r\n"))
        assert (await imap.response_line()).startswith(b"c OK")
        answer = zlib.decompressobj(-zlib.MAX_WBITS).decompress(await imap.reader.read())
        assert [line[:6] for line in answer.split(b"\r\n")] == [b"d OK N", b"* BYE ", b"e OK L", b""]


async def test_only_once_only_after_login_only_deflate() -> None:
    async with ImapHarness() as server, server.client(None) as imap:
        assert "COMPRESS" not in (await imap.ok("CAPABILITY")).untagged[0].decode()
        assert (await imap.command("COMPRESS DEFLATE")).status == "BAD"
        answer = await imap.ok(f'LOGIN anna "{PASSWORD}"')
        assert "COMPRESS=DEFLATE" in (answer.code("CAPABILITY") or "")
        assert (await imap.command("COMPRESS LZW")).status == "BAD"
        assert (await imap.command("COMPRESS")).status == "BAD"
        await compressed(imap)
        again = await imap.command("COMPRESS DEFLATE")
        assert again.status == "BAD" and again.code("COMPRESSIONACTIVE") == ""


async def test_switched_off_for_an_account() -> None:
    async with (
        ImapHarness(imap={"disabled_for": {"anna@example.test": ["COMPRESS"]}}) as server,
        server.client() as imap,
    ):
        assert (await imap.command("COMPRESS DEFLATE")).status == "BAD"
        await imap.ok("NOOP")


@pytest.mark.parametrize("data", [b"n NOOP\r\n", b"\xff" * 10])
async def test_what_is_not_deflate_ends_the_connection(data: bytes) -> None:
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok("COMPRESS DEFLATE")
        imap.writer.write(data)
        answer = zlib.decompressobj(-zlib.MAX_WBITS).decompress(await imap.reader.read())
        assert answer == b"* BYE What you sent is not DEFLATE\r\n"
        await server.settled()


async def test_the_end_of_the_stream_and_of_the_connection() -> None:
    """Whole commands are still answered."""
    for end in (zlib.Z_FINISH, zlib.Z_SYNC_FLUSH):
        async with ImapHarness() as server, server.client() as imap:
            await imap.ok("COMPRESS DEFLATE")
            stream = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
            imap.writer.write(stream.compress(b"n NOOP\r\no NOO") + stream.flush(end))
            if end == zlib.Z_FINISH:
                imap.writer.write(b"p NOOP\r\n")
            else:
                imap.writer.write_eof()
            answer = zlib.decompressobj(-zlib.MAX_WBITS).decompress(await imap.reader.read())
            assert answer == b"n OK NOOP completed\r\n"
            await server.settled()


async def test_a_bye_is_compressed_too() -> None:
    async with ImapHarness() as server, server.client() as imap:
        await compressed(imap)
        server.stopping.set()
        assert (await imap.response_line()).startswith(b"* BYE The server is stopping")
        with pytest.raises(Closed):
            await imap.response_line()


async def test_a_client_that_does_not_read_makes_nothing_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes are a hundred thousand commands, with as many answers."""
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok("COMPRESS DEFLATE")
        (connection,) = server.connections
        most, put = 0, Output.put

        def counted(self: Output, data: bytes) -> None:
            nonlocal most
            put(self, data)
            most = max(most, self._size)

        monkeypatch.setattr(Output, "put", counted)
        bomb = b"n NOOP\r\n" * 100_000
        imap.writer.write(deflated(bomb, level=9))
        inflate, got = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while got < 100_000:
            got += inflate.decompress(await imap.reader.read(1 << 16)).count(b"\r\n")
        assert got == 100_000 and most < CHUNK + 1000
        await until(lambda: connection._task is None)
