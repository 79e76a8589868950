"""ATTACKS I07, I10, I11, I12, I13, I15 and J06, J08 on the server, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Sequence

import pytest

from mailserver.imap.connection.deflate import Inflater
from mailserver.imap.connection.output import CHUNK
from mailserver.storage.memory_mailbox import MemoryMailbox
from mailserver.wire.imap.limits import MAX_DISCARD
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ANNA, PASSWORD, ImapHarness, until

MESSAGE = b"Subject: x\r\n\r\n"


def _reset(imap: AsyncImap) -> None:
    """Close with RST: a FIN may be half a close, after which answers are still wanted."""
    sock = imap.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    imap.writer.transport.abort()


async def test_i07_a_client_that_does_not_read() -> None:
    """64 KiB wait in the transport, one group of messages in the command; other clients are served."""
    async with ImapHarness() as server:
        await server.deliver(*[MESSAGE + b"x" * 200_000] * 50)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", server.port()))
        commands = f'a LOGIN anna "{PASSWORD}"\r\nb SELECT INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\n'
        await loop.sock_sendall(sock, commands.encode() + b"d NOOP\r\n" * 3)
        await until(lambda: any(c._output.stalled_since() for c in server.connections))
        (stuck,) = server.connections
        assert stuck._output.held <= 256 * 1024 + 2 * CHUNK
        async with server.client(select="INBOX") as other:
            await other.ok("FETCH 50 BODY.PEEK[]")
        # What it sends meanwhile is not read without bound either.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                while True:
                    await loop.sock_sendall(sock, b"e NOOP\r\n" * 10_000)
        assert stuck._wire.unread < 1 << 20
        # After a minute without reading it is cut off, in the middle of the message.
        stuck.check(loop.time() + 61)
        await server.settled()
        sock.close()


async def test_i11_a_bomb_of_deflate(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 MB in 50 KB: as a line it is cut off after the megabyte that any long line gets, 64 KiB at a time."""
    taken, take = list[int](), Inflater.take

    def counted(self: Inflater, most: int) -> bytes:
        data = take(self, most)
        taken.append(len(data))
        return data

    monkeypatch.setattr(Inflater, "take", counted)
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(50)) + stream.flush()
    assert len(bomb) < 60_000
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok("COMPRESS DEFLATE")
        (connection,) = server.connections
        imap.writer.write(bomb)
        answer = zlib.decompressobj(-zlib.MAX_WBITS).decompress(await imap.reader.read())
        assert b"* BYE the line does not end\r\n" in answer
        await server.settled()
        assert max(taken) == CHUNK and sum(taken) <= MAX_DISCARD + 3 * CHUNK
        assert connection._wire.unread == 0
    # As a message it is taken in as such, and the limit of messages counts what it becomes.
    async with ImapHarness(max_message_size=1 << 20) as server, server.client() as imap:
        await imap.ok("COMPRESS DEFLATE")
        stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = b"a APPEND INBOX ~{1048576+}\r\n" + bytes(1 << 20) + b"\r\nb APPEND INBOX {1048577}\r\nc LOGOUT\r\n"
        imap.writer.write(stream.compress(data) + stream.flush())
        answer = zlib.decompressobj(-zlib.MAX_WBITS).decompress(await imap.reader.read())
        assert b"a OK [APPENDUID" in answer and b"b NO [TOOBIG]" in answer and b"c OK" in answer


async def test_i13_a_thousand_pipelined_commands_in_order() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        imap.writer.write(b"".join(b"n%d NOOP\r\n" % n for n in range(1000)))
        for n in range(1000):
            assert (await imap.response_line()).startswith(b"n%d OK" % n)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"a\nb", b"OK"),
        (b"a\rb", b"OK"),
        (b"a\0b", b"NO [CANNOT]"),
        (b"\xff\xfe\x80", b"OK"),
    ],
)
@pytest.mark.parametrize("sync", [True, False])
async def test_i12_what_append_takes(message: bytes, answer: bytes, sync: bool) -> None:
    async with ImapHarness() as server, server.client() as imap:
        if sync:
            imap.writer.write(b"a APPEND INBOX {%d}\r\n" % len(message))
            assert (await imap.response_line()).startswith(b"+")
            imap.writer.write(message + b"\r\n")
        else:
            imap.writer.write(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(message), message))
        assert (await imap.response_line()).startswith(b"a " + answer)
        await imap.ok("NOOP")


async def test_i12_over_quota_and_too_big() -> None:
    async with ImapHarness(max_message_size=1000) as server, server.client() as imap:
        account = await server.store.open_account(ANNA)
        await account.set_quota(100, 0)
        imap.writer.write(b"a APPEND INBOX {101}\r\n")
        assert (await imap.response_line()).startswith(b"a NO [OVERQUOTA]")
        imap.writer.write(b"b APPEND INBOX {101+}\r\n" + b"x" * 101 + b"\r\n")
        assert (await imap.response_line()).startswith(b"b NO [OVERQUOTA]")
        imap.writer.write(b"c APPEND INBOX {1001}\r\n")
        assert (await imap.response_line()).startswith(b"c NO [TOOBIG]")
        imap.writer.write(b"d APPEND INBOX {60+}\r\n" + b"x" * 60 + b" {60+}\r\n" + b"y" * 60 + b"\r\n")
        assert (await imap.response_line()).startswith(b"d NO [OVERQUOTA]")
        await imap.ok("SELECT INBOX")
        assert (await imap.ok("SEARCH ALL")).untagged == (b"* SEARCH",)
        (root, usage) = (await imap.ok("GETQUOTAROOT INBOX")).untagged
        assert root == b'* QUOTAROOT "INBOX" ""' and usage == b'* QUOTA "" (STORAGE 0 0)'


async def test_i12_cut_off_in_the_middle() -> None:
    async with ImapHarness() as server:
        async with server.client() as imap:
            imap.writer.write(b"a APPEND INBOX {100}\r\nhalf")
            await imap.response_line()
        await server.settled()
        async with server.client(select="INBOX") as imap:
            assert (await imap.ok("SEARCH ALL")).untagged == (b"* SEARCH",)


async def test_i15_others_mail_is_not_there() -> None:
    async with ImapHarness() as server, server.client("ben") as ben:
        await ben.ok("CREATE secret")
        async with server.client("anna") as anna:
            for name in ("secret", "ben/secret", "/ben@example.test/secret", "../ben/secret", "~ben/secret"):
                for command in ("SELECT {}", "EXAMINE {}", "STATUS {} (MESSAGES)", "DELETE {}", "RENAME {} x"):
                    there = await anna.command(command.format(f'"{name}"'))
                    assert there.status == "NO", command
            assert (await anna.ok('LIST "" *secret*')).untagged == ()


async def test_j06_stores_at_the_same_time() -> None:
    async with ImapHarness() as server:
        await server.deliver(MESSAGE)
        async with server.client(select="INBOX") as one, server.client(select="INBOX") as two:
            await asyncio.gather(one.ok("STORE 1 +FLAGS.SILENT (\\Seen)"), two.ok("STORE 1 +FLAGS.SILENT (\\Draft)"))
            (line,) = (await one.ok("UID FETCH 1 (FLAGS MODSEQ)")).only("FETCH")[:1]
            assert b"FLAGS (\\Seen \\Draft)" in line


async def test_j08_deleted_and_made_again() -> None:
    async with ImapHarness() as server, server.client() as owner:
        await owner.ok("CREATE box")
        async with server.client(select="box") as other:
            other.writer.write(b"i IDLE\r\n")
            await other.response_line()
            first = (await owner.ok("STATUS box (UIDVALIDITY)")).untagged
            await owner.ok("DELETE box")
            assert (await other.response_line()).startswith(b"* BYE")
            await owner.ok("CREATE box")
            assert (await owner.ok("STATUS box (UIDVALIDITY)")).untagged != first


async def test_i10_others_are_served_while_one_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SEARCH that never gets its next batch does not keep anybody waiting, and ends with its connection."""
    gate = asyncio.Event()

    async def slow(
        self: MemoryMailbox, uids: Sequence[int], *, header_only: bool = False
    ) -> AsyncIterator[list[tuple[int, bytes]]]:
        await gate.wait()
        yield []

    monkeypatch.setattr(MemoryMailbox, "read_many", slow)
    async with ImapHarness() as server:
        await server.deliver(MESSAGE)
        async with server.client(select="INBOX") as other:
            async with server.client(select="INBOX") as searching:
                searching.writer.write(b"s SEARCH BODY x\r\n")
                await until(lambda: any(c._task is not None for c in server.connections))
                await other.ok("NOOP")
                _reset(searching)
            await until(lambda: len(server.connections) == 1)
            await until(lambda: all(c._task is None for c in server.connections))
