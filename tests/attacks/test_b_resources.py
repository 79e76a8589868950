"""ATTACKS B: resources and abuse, over SMTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable

import pytest

from mailserver.smtp.data import Progress
from mailserver.smtp.server import SmtpConnection
from tests.helpers.smtp import AsyncSmtp, Closed
from tests.helpers.smtp_service import DOMAIN, SmtpHarness
from tests.helpers.waiting import soon

_NOTHING = Progress(0.0)
ANNA = f"anna@{DOMAIN}"


def _connection(server: SmtpHarness, service: str = "smtp") -> SmtpConnection:
    listener = next(one for one in server.service.listeners if one.name == service)
    (connection,) = listener.connections
    assert isinstance(connection, SmtpConnection)
    return connection


async def _until(done: Callable[[], bool]) -> None:
    await soon(done, "never")


async def _begin(smtp: AsyncSmtp) -> None:
    for command in ("EHLO client.test", "MAIL FROM:<x@far.test>", f"RCPT TO:<{ANNA}>"):
        assert (await smtp.command(command)).code == 250


async def _rest(smtp: AsyncSmtp) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := await smtp.reader.read(65536):
            data += piece
    return data


async def test_b01_a_command_that_never_ends() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        smtp.writer.write(b"A" * 2049)
        reply = await smtp.reply()
        assert (reply.code, reply.status) == (500, "5.5.2")
        assert await _rest(smtp) == b""


@pytest.mark.parametrize(("verb", "limit"), [(b"MAIL FROM:", 4096), (b"NOOP ", 2048), (b"AUTH PLAIN ", 12288)])
async def test_b01_each_command_has_its_limit(verb: bytes, limit: int) -> None:
    async with SmtpHarness() as server:
        async with server.client() as smtp:
            assert (await smtp.command(verb + b"a" * (limit - len(verb)) + b"\r\n")).lines[0].find("too long") < 0
        async with server.client() as smtp:
            smtp.writer.write(verb + b"a" * (limit - len(verb) + 1) + b"\r\n")
            assert "too long" in (await smtp.reply()).text
            assert await _rest(smtp) == b""


async def test_b01_a_line_of_ten_megabytes() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _begin(smtp)
        assert (await smtp.command("DATA")).code == 354
        connection = _connection(server)
        for _ in range(160):
            smtp.writer.write(b"a" * 65536)
            await smtp.writer.drain()
            assert len(connection.stream.buffer) <= 320 << 10
        reply = await smtp.command(b"\r\n.\r\n")
        assert (reply.code, reply.status) == (550, "5.5.2")
        assert (await smtp.command("NOOP")).code == 250
        assert await server.count() == 0


@pytest.mark.parametrize("state", ["command", "data", "bdat", "auth"])
async def test_b02_total_deadlines(state: str) -> None:
    """Octets that trickle in do not prolong them; only time is moved, by asking as of a later time."""
    async with SmtpHarness() as server:
        service = "submission" if state == "auth" else "smtp"
        async with server.client(service) as smtp:
            before = asyncio.get_running_loop().time()
            if state in ("data", "bdat"):
                await _begin(smtp)
                if state == "data":
                    assert (await smtp.command("DATA")).code == 354
                else:
                    smtp.writer.write(b"BDAT 1000000\r\n")
            elif state == "auth":
                assert (await smtp.command("EHLO client.test")).code == 250
                assert (await smtp.command("AUTH LOGIN")).code == 334
            smtp.writer.write(b"x")
            await smtp.writer.drain()
            await asyncio.sleep(0.05)
            deadline = 60 if state in ("data", "bdat") else 300
            server.service.tick(before + deadline - 1)
            assert len(server.service.listeners[0]) + len(server.service.listeners[1]) == 1
            server.service.tick(asyncio.get_running_loop().time() + deadline + 1)
            assert (await smtp.reply()).code == 421
            assert await _rest(smtp) == b""
        await server.settled()


async def test_b02_many_small_chunks_are_as_slow_as_one() -> None:
    """Each chunk is there at once, and each command in time; the message is not."""
    async with SmtpHarness() as server, server.client() as smtp:
        await _begin(smtp)
        before = asyncio.get_running_loop().time()
        for _ in range(3):
            assert (await smtp.command(b"BDAT 1\r\nx")).code == 250
        server.service.tick(before + 59)
        assert len(server.service.listeners[0]) == 1
        server.service.tick(before + 65)
        reply = await smtp.reply()
        assert reply.code == 421 and "too slowly" in reply.text
        assert await _rest(smtp) == b""


async def test_b02_what_was_refused_or_thrown_away_slows_no_later_message() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command(b"BDAT 1\r\nx")).code == 503
        assert _connection(server).progress is None
        await _begin(smtp)
        assert (await smtp.command(b"BDAT 1\r\nx")).code == 250
        assert (await smtp.command("RSET")).code == 250
        assert _connection(server).progress is None


async def test_b02_a_steady_sender_has_twenty_minutes() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _begin(smtp)
        assert (await smtp.command("DATA")).code == 354
        before = asyncio.get_running_loop().time()
        smtp.writer.write(b"A: b\r\n\r\n" + b"x" * 998 + b"\r\n" * 350_000)
        await smtp.writer.drain()
        await _until(lambda: (_connection(server).progress or _NOTHING).octets >= 700_000)
        server.service.tick(before + 1199)
        assert len(server.service.listeners[0]) == 1
        server.service.tick(before + 1201)
        assert (await smtp.reply()).code == 421


async def test_b03_a_client_that_never_reads() -> None:
    async with SmtpHarness(limits={"errors": 1 << 20, "junk_commands": 1 << 20}) as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        connection = _connection(server)
        assert connection.transport is not None
        # Small buffers of the system's, so that ours are met soon.
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        smtp.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        smtp.reader._transport.pause_reading()  # type: ignore[attr-defined]
        smtp.writer.write(b"HELP\r\n" * 500_000)
        await _until(lambda: connection.stream.stalled_since is not None)
        await asyncio.sleep(0.05)
        assert connection.stream.stalled_since is not None
        assert connection.transport.get_write_buffer_size() <= (64 + 32) << 10
        assert len(connection.stream.buffer) <= 320 << 10
        server.service.tick(connection.stream.stalled_since + 59)
        assert len(server.service.listeners[0]) == 1
        server.service.tick(connection.stream.stalled_since + 60)
        await server.settled()
        smtp.writer.transport.abort()


async def test_b03_a_client_that_does_not_read_the_goodbye() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        connection = _connection(server)
        now = asyncio.get_running_loop().time()
        connection._closed_at = now
        server.service.tick(now + 61)
        with pytest.raises(Closed):
            await smtp.command("NOOP")


async def test_b04_too_many_recipients() -> None:
    limits = {"recipients": 100}
    async with SmtpHarness(limits=limits) as server, server.client() as smtp:
        assert "LIMITS RCPTMAX=100" in (await smtp.command("EHLO client.test")).lines
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        smtp.writer.write(f"RCPT TO:<{ANNA}>\r\n".encode() * 300)
        codes = [(await smtp.reply()).code for _ in range(200)]
        assert codes == [250] * 100 + [452] * 99 + [421]
        assert await _rest(smtp) == b""


async def test_b04_a_thousand_recipients_are_taken() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        smtp.writer.write(b"".join(b"RCPT TO:<anna+%d@example.test>\r\n" % n for n in range(1001)))
        assert [(await smtp.reply()).code for _ in range(1001)] == [250] * 1000 + [452]
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command(b"A: b\r\n\r\nx\r\n.\r\n")).code == 250
        (stored,) = await server.mail("anna")
        assert b"\tfor <" not in stored


@pytest.mark.parametrize("command", ["NOOP", "RSET", "VRFY x", "HELP"])
async def test_b04_commands_without_effect(command: str) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        smtp.writer.write(f"{command}\r\n".encode() * 10_000)
        codes = [(await smtp.reply()).code for _ in range(102)]
        assert codes[:101] == [codes[0]] * 101 and codes[0] < 300 and codes[101] == 421
        assert await _rest(smtp) == b""


async def test_b04_greetings_without_end() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        codes = [(await smtp.command("EHLO client.test")).code for _ in range(102)]
        assert codes == [250] * 102
        assert (await smtp.reply()).code == 421
        assert await _rest(smtp) == b""


async def test_b04_too_many_errors() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        smtp.writer.write(b"BLA\r\n" * 30)
        assert [(await smtp.reply()).code for _ in range(21)] == [500] * 20 + [421]
        assert await _rest(smtp) == b""


async def test_b04_limits_are_per_connection() -> None:
    async with SmtpHarness() as server, server.client() as first:
        first.writer.write(b"BLA\r\n" * 19)
        assert [(await first.reply()).code for _ in range(19)] == [500] * 19
        async with server.client() as second:
            assert (await second.command("BLA")).code == 500
            assert (await second.command("NOOP")).code == 250
        assert (await first.command("NOOP")).code == 250


@pytest.mark.parametrize(
    ("size", "code"),
    [("52428800", 250), ("52428801", 552), ("9" * 20, 552), ("9" * 21, 501), ("9" * 2000, 501), ("+5", 501),
     ("1_0", 501), ("٣", 501), ("-1", 501), ("", 501), ("0", 250)],
)  # fmt: skip
async def test_b08_declared_sizes(size: str, code: int) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command(f"MAIL FROM:<x@far.test> SIZE={size}")).code == code


async def test_b08_a_number_of_five_thousand_digits() -> None:
    async with SmtpHarness(limits={"command_line": 8192}) as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command(f"MAIL FROM:<x@far.test> SIZE={'9' * 5000}")).code == 501


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_b08_sizes_that_lie(verb: str) -> None:
    async with SmtpHarness(smtp={"max_size": 65536}) as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        for declared, octets, code in ((10, 1000, 250), (60000, 10, 250), (10, 70000, 552)):
            assert (await smtp.command(f"MAIL FROM:<x@far.test> SIZE={declared}")).code == 250
            assert (await smtp.command(f"RCPT TO:<{ANNA}>")).code == 250
            message = b"A: b\r\n\r\n" + b"x\r\n" * (octets // 3)
            if verb == "DATA":
                assert (await smtp.command("DATA")).code == 354
                assert (await smtp.command(message + b".\r\n")).code == code
            else:
                assert (await smtp.command(b"BDAT %d LAST\r\n" % len(message) + message)).code == code
        assert await server.count() == 2


async def test_b08_a_message_without_end_is_cut_off() -> None:
    async with SmtpHarness(smtp={"max_size": 65536}) as server, server.client() as smtp:
        await _begin(smtp)
        assert (await smtp.command("DATA")).code == 354
        smtp.writer.write(b"x\r\n" * 60_000)
        assert (await smtp.reply()).code == 552
        await _rest(smtp)


@pytest.mark.parametrize(
    ("header", "code", "status"),
    [
        (b"Received: x\r\n" * 50, 250, "2.0.0"),
        (b"Received: x\r\n" * 51, 554, "5.4.6"),
        (b"received : x\r\n" * 51, 554, "5.4.6"),
        (b"X: y\r\n" * 2000, 250, "2.0.0"),
        (b"X: y\r\n" * 2001, 552, "5.3.4"),
        (b"X: y\r\n y\r\n" * 1500, 250, "2.0.0"),
        (b"X: y\r\n" + b" yyyyyyyy\r\n" * 6000, 552, "5.3.4"),
        (b"X-" + b"y" * 60_000 + b": y\r\n", 250, "2.0.0"),
        (b"X: " + b"y" * 70_000 + b"\r\n", 550, "5.5.2"),
        ((b"X: " + b"y" * 60_000 + b"\r\n") * 36, 552, "5.3.4"),
    ],
)
async def test_b09_headers(header: bytes, code: int, status: str) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        reply = await smtp.message("x@far.test", [ANNA], header + b"\r\nbody\r\n")
        assert (reply.code, reply.status) == (code, status)


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"put /x HTTP/1.0", b"PRI * HTTP/2.0", b"CONNECT a:25"]
)
async def test_b11_a_browser(line: bytes) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        body = b"\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<x@far.test>\r\nRCPT TO:<anna@example.test>\r\nDATA\r\n"
        smtp.writer.write(line + body)
        assert (await smtp.reply()).code == 554
        assert await _rest(smtp) == b""
        assert await server.count() == 0


async def _proxied(server: SmtpHarness, header: bytes, service: str = "smtp") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port(service))
    try:
        writer.write(header)
        await writer.drain()
        first = await asyncio.wait_for(reader.readline(), 5)
        if first.startswith(b"220"):
            writer.write(b"EHLO client.test\r\n")
            while (line := await reader.readline())[3:4] == b"-":
                pass
            first += line
        return first
    except ConnectionError:
        return b""
    finally:
        writer.close()


_V2 = b"\r\n\r\n\0\r\nQUIT\n"


async def test_b12_a_proxy_header_from_a_stranger() -> None:
    async with SmtpHarness() as server:
        for header in (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n",
            _V2 + b"\x21\x11\0\x0c" + b"\xc0\0\2\1\xc0\0\2\2\0\1\0\x19",
        ):
            first = await _proxied(server, header)
            assert first.startswith((b"554", b"220"))  # spoken too early, or a command that does not exist
        peers = {getattr(event, "peer", "127.0.0.1") for event in server.events}
        assert peers <= {"127.0.0.1"}


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (_V2 + b"\x21\x11\0\x0c" + b"\xc0\0\2\7\xc0\0\2\2\0\1\0\x19", "192.0.2.7"),
        (_V2 + b"\x21\x11\0\x10" + b"\xc0\0\2\7\xc0\0\2\2\0\1\0\x19" + b"\x04\0\1x", "192.0.2.7"),
        (_V2 + b"\x20\0\0\0", "127.0.0.1"),
    ],
)
async def test_b12_a_proxy_header_from_a_proxy(header: bytes, peer: str) -> None:
    async with SmtpHarness(smtp={"proxy_from": ["127.0.0.1"]}) as server:
        assert (await _proxied(server, header)).startswith(b"220")
        assert getattr(server.events[0], "peer", "") == peer


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.test\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 ::1 ::1 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 70000 1\r\n",
        b"PROXY " + b"x" * 200, _V2 + b"\x11\x11\0\x0c" + b"\0" * 12, _V2 + b"\x21\x11\0\4" + b"\0" * 4,
        _V2 + b"\x21\x11\xff\xff" + b"\0" * 100, _V2 + b"\x21\x31\0\x0c" + b"\0" * 12,
    ],
)  # fmt: skip
async def test_b12_a_malformed_proxy_header(header: bytes) -> None:
    async with SmtpHarness(smtp={"proxy_from": ["127.0.0.1"]}) as server:
        assert await _proxied(server, header) == b""
        await server.settled()
        assert server.table.total == 0


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"client.test", 250), (b"[192.0.2.1]", 250), (b"[IPv6:2001:db8::1]", 250), (b"under_score.test", 250),
        (b"localhost", 250), (b"a" * 2000, 501), (b"a\x1b[31mb", 500), ("ünicode.test".encode(), 500), (b"a b", 501),
        (b"", 501),
        (b"a\\b", 501), (b"<script>", 501), (b"a(b)", 501),
    ],
)  # fmt: skip
async def test_b13_names_in_ehlo(name: bytes, code: int) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command(b"EHLO " + name + b"\r\n")).code == code
        if code == 250:
            assert (await smtp.message("x@far.test", [ANNA], b"A: b\r\n\r\n")).code == 250
            (stored,) = await server.mail("anna")
            assert b"Received: from " + name + b" (" in stored


_STATES: list[list[bytes]] = [
    [], [b"EHLO c.test\r\n"], [b"EHLO c.te"], [b"EHLO c.test\r\n", b"MAIL FROM:<x@far.test>\r\n"],
    [b"EHLO c.test\r\n", b"MAIL FROM:<x@far.test>\r\n", b"RCPT TO:<anna@example.test>\r\n"],
    [b"EHLO c.test\r\n", b"MAIL FROM:<x@far.test>\r\n", b"RCPT TO:<anna@example.test>\r\n", b"DATA\r\n"],
    [b"EHLO c.test\r\n", b"MAIL FROM:<x@far.test>\r\n", b"RCPT TO:<anna@example.test>\r\n", b"DATA\r\n", b"half"],
    [b"EHLO c.test\r\n", b"MAIL FROM:<x@far.test>\r\n", b"RCPT TO:<anna@example.test>\r\n", b"BDAT 10\r\nhalf"],
    [b"EHLO c.test\r\n", b"MAIL FROM:<x@far.test>\r\n", b"RCPT TO:<anna@example.test>\r\n", b"BDAT 4\r\nhalf"],
    [b"BLA\r\n"], [b"QUIT\r\n"], [b"RSET\r\n", b"NOOP\r\n"],
]  # fmt: skip


async def test_b14_resets_in_every_state(caplog: pytest.LogCaptureFixture) -> None:
    async with SmtpHarness(limits={"trusted": ["127.0.0.0/8"]}) as server:
        fds, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        for steps in _STATES:
            for _ in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port())
                for number, step in enumerate(steps):
                    writer.write(step)
                    if step.endswith(b"\r\n") and number + 1 < len(steps):
                        await reader.readline()
                writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER
                writer.transport.abort()
        await server.settled()
        await soon(lambda: len(asyncio.all_tasks()) <= tasks and len(os.listdir("/proc/self/fd")) <= fds)
        assert server.table.total == 0
        assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
        async with server.client() as smtp:
            assert (await smtp.command("NOOP")).code == 250
