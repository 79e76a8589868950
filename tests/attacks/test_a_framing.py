"""ATTACKS A: framing, smuggling, state."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.hooks.contexts import MessageContext
from mailserver.model.verdict import Accept, HeaderField
from mailserver.net.settings import TlsSettings
from mailserver.net.tls import TlsContexts
from mailserver.wire.dotstuff import ContentCheck, DotReader, stuff
from tests.helpers.certs import Certificates
from tests.helpers.smtp import AsyncSmtp, Closed, Reply
from tests.helpers.smtp_service import DOMAIN, PASSWORD, SmtpHarness
from tests.helpers.waiting import soon

# Each must not end the data. The last two hold a true line end before the dot's line, but not after it.
FALSE_ENDS = [
    b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\n\0.\r\n",
    b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n",
]  # fmt: skip
BEGIN = b"From: x@far.test\r\nSubject: outer\r\n\r\nbefore"
SMUGGLED = (
    b"MAIL FROM:<smuggled@far.test>\r\nRCPT TO:<anna@example.test>\r\nDATA\r\n"
    b"From: smuggled@far.test\r\n\r\ninner\r\n"
)


async def _into_data(smtp: AsyncSmtp, recipient: str = f"anna@{DOMAIN}") -> None:
    assert (await smtp.command("EHLO client.test")).code == 250
    assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
    assert (await smtp.command(f"RCPT TO:<{recipient}>")).code == 250
    assert (await smtp.command("DATA")).code == 354


def _read(pieces: list[bytes]) -> tuple[bytes, bool, bool, bytes]:
    reader, check = DotReader(), ContentCheck(normalize=False, longest_line=1 << 16)
    content = b""
    for piece in pieces:
        if reader.done:
            reader.rest += piece
        else:
            content += check.feed(reader.feed(piece))
    if reader.done:
        content += check.finish()
    return content, check.bare, reader.done, reader.rest


@pytest.mark.parametrize("false_end", FALSE_ENDS)
async def test_a01_a_false_end_of_data_ends_nothing(false_end: bytes) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _into_data(smtp)
        smtp.writer.write(BEGIN + false_end)
        await smtp.writer.drain()
        reply = await smtp.command(b"after\r\n.\r\n")
        assert (reply.code, reply.status) == (550, "5.5.2")
        assert (await smtp.command("NOOP")).code == 250
        assert await server.count() == 0


@pytest.mark.parametrize("false_end", FALSE_ENDS)
async def test_a02_no_second_message_is_smuggled(false_end: bytes) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _into_data(smtp)
        reply = await smtp.command(BEGIN + false_end + SMUGGLED + b".\r\n")
        assert reply.code == 550
        assert (await smtp.command("QUIT")).code == 221
        assert await server.count() == 0


@pytest.mark.parametrize("false_end", FALSE_ENDS)
def test_a03_every_split_gives_the_same_verdict(false_end: bytes) -> None:
    wire = BEGIN + false_end + SMUGGLED + b".\r\nNOOP\r\n"
    whole = _read([wire])
    assert whole[1] and whole[2] and whole[3] == b"NOOP\r\n"
    assert _read([wire[at : at + 1] for at in range(len(wire))]) == whole
    for cut in range(len(wire)):
        assert _read([wire[:cut], wire[cut:]]) == whole


@pytest.mark.parametrize("service", ["smtp", "submission"])
async def test_a13_a_message_cannot_continue_a_field_of_ours(service: str) -> None:
    async with SmtpHarness() as server, server.client(service) as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        if service == "submission":
            plain = base64.b64encode(f"\0anna@{DOMAIN}\0{PASSWORD}".encode()).decode()
            assert (await smtp.command(f"AUTH PLAIN {plain}")).code == 235
        assert (await smtp.command(f"MAIL FROM:<anna@{DOMAIN}>")).code == 250
        assert (await smtp.command(f"RCPT TO:<ben@{DOMAIN}>")).code == 250
        assert (await smtp.command("DATA")).code == 354
        message = b" , v@victim.test\r\nFrom: v@victim.test\r\nDate: x\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n"
        assert (await smtp.command(message + b".\r\n")).code == 250
        (stored,) = await server.mail("ben")
        assert stored.endswith(b"\r\n\r\n" + message)
        assert b"victim" not in stored.partition(b"\r\n\r\n")[0]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"a", b"\0", b".."]), max_size=24),
    st.lists(st.integers(1, 5), max_size=40),
)
def test_a03_any_chunks_of_any_octets(parts: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(parts) + b"\r\n.\r\n"
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(wire[at : at + cut])
        at += cut
    assert _read([*pieces, wire[at:]]) == _read([wire])


@pytest.mark.parametrize("junk", [b"\n", b"\r", b"\0", b"\x0b", b"\x80"])
async def test_a04_stray_octets_in_commands_end_no_line(junk: bytes) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        replies = [await smtp.command(b"NOOP a" + junk + b"QUIT\r\n")]
        assert replies[0].code == 500
        if junk != b"\x80":
            replies += [await smtp.command(b"MAIL FROM:<a@far.test>" + junk + b"RCPT\r\n") for _ in range(2)]
            assert [reply.code for reply in replies] == [500, 500, 521]
            with pytest.raises(Closed):
                await smtp.reply()


@pytest.mark.parametrize("junk", [b"a\nb", b"a\rb", b"a\0b", b"\n", b"\r"])
@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_a05_stray_octets_in_a_message_refuse_it(junk: bytes, verb: str) -> None:
    message = BEGIN + junk + b"\r\n"
    async with SmtpHarness() as server, server.client() as smtp:
        for command in ("EHLO client.test", "MAIL FROM:<x@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
            assert (await smtp.command(command)).code == 250
        if verb == "DATA":
            assert (await smtp.command("DATA")).code == 354
            reply = await smtp.command(message + b".\r\n")
        else:
            reply = await smtp.command(b"BDAT %d LAST\r\n" % len(message) + message)
        assert (reply.code, reply.status) == (550, "5.5.2")
        assert await server.count() == 0


async def test_a05_a_stray_octet_at_a_chunk_border() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        for border, code in ((b"\r", 550), (b"", 250)):
            for command in ("EHLO client.test", "MAIL FROM:<x@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
                assert (await smtp.command(command)).code == 250
            first = b"A: b\r\n\r\ntext" + (border or b"\r")
            assert (await smtp.command(b"BDAT %d\r\n" % len(first) + first)).code == 250
            second = b"more\r\n" if border else b"\nmore\r\n"
            assert (await smtp.command(b"BDAT %d LAST\r\n" % len(second) + second)).code == code
        (stored,) = await server.mail("anna")
        assert stored.endswith(b"A: b\r\n\r\ntext\r\nmore\r\n")


@settings(max_examples=300)
@given(st.lists(st.sampled_from([b".", b"\r\n", b"..", b"a", b" ", b"\r\n.\r\n"]), max_size=30).map(b"".join))
def test_a07_unstuff_of_stuff_is_identity(content: bytes) -> None:
    wire = stuff(content)
    got, _, done, rest = _read([wire + b"NOOP\r\n"])
    expected = content if not content or content.endswith(b"\r\n") else content + b"\r\n"
    assert (got, done, rest) == (expected, True, b"NOOP\r\n")
    assert wire.count(b"\r\n.\r\n") <= 1


async def test_a08_nothing_of_a_transaction_survives_an_error() -> None:
    policy: list[str] = []

    def on_message(ctx: MessageContext) -> None:
        policy.append(str(ctx.envelope.sender))

    server = SmtpHarness()
    server.registry.on_message(on_message)
    async with server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command(b"BDAT 5 LAST\r\nMAIL\n")).code == 503
        assert (await smtp.command("DATA")).code == 503
        for command in ("MAIL FROM:<a@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
            assert (await smtp.command(command)).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command(b"bare \n lf\r\n.\r\n")).code == 550
        assert (await smtp.command(f"RCPT TO:<anna@{DOMAIN}>")).code == 503
        assert (await smtp.command("DATA")).code == 503
        assert (await smtp.command("VRFY é")).code == 252
        assert (await smtp.command("DATA")).code == 503
        for sender in ("a@far.test", "b@far.test"):
            assert (await smtp.message(sender, [f"anna@{DOMAIN}"], b"A: b\r\n\r\nx\r\n")).code == 250
        assert policy == ["a@far.test", "b@far.test"]


@pytest.mark.parametrize(
    ("size", "code"),
    [("-1", 501), ("+5", 501), ("1_0", 501), ("٣", 500), ("99999999999999999999", 552), ("", 501), ("5 FIRST", 501)],
)
async def test_a09_sizes_that_are_none(size: str, code: int) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        for command in ("EHLO client.test", "MAIL FROM:<x@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
            assert (await smtp.command(command)).code == 250
        smtp.writer.write(f"BDAT {size}\r\nMAIL FROM:<smuggled@far.test>\r\nQUIT\r\n".encode())
        assert (await smtp.reply()).code == code
        if code != 500:
            with pytest.raises(Closed):
                await smtp.reply()
        assert await server.count() == 0


async def test_a09_chunks_are_never_read_as_commands() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        inner = b"RSET\r\nQUIT\r\n"
        assert (await smtp.command(b"BDAT %d\r\n" % len(inner) + inner)).code == 503
        for command in ("MAIL FROM:<x@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
            assert (await smtp.command(command)).code == 250
        assert (await smtp.command(b"BDAT %d\r\n" % len(inner) + inner)).code == 250
        assert (await smtp.command("MAIL FROM:<y@far.test>")).code == 503
        assert (await smtp.command("DATA")).code == 503
        assert (await smtp.command("RSET")).code == 250
        assert (await smtp.command("BDAT 0 LAST")).code == 503
        for command in ("MAIL FROM:<x@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
            assert (await smtp.command(command)).code == 250
        assert (await smtp.command(b"BDAT 8\r\nA: b\r\n\r\n")).code == 250
        assert (await smtp.command("BDAT 0 LAST")).code == 250
        (stored,) = await server.mail("anna")
        assert stored.endswith(b"\r\nA: b\r\n\r\n") and b"RSET" not in stored


async def test_a10_many_chunks_of_one_octet_keep_memory_flat() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        for command in ("EHLO client.test", "MAIL FROM:<x@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
            assert (await smtp.command(command)).code == 250
        (connection,) = server.service.listeners[0].connections
        for _ in range(20):
            smtp.writer.write(b"BDAT 1\r\na" * 1000)
            for _ in range(1000):
                assert (await smtp.reply()).code == 250
            assert len(connection.stream.buffer) == 0  # type: ignore[attr-defined]
        assert (await smtp.command("BDAT 0 LAST")).code == 250
        (stored,) = await server.mail("anna")
        assert stored.endswith(b"a" * 20_000)


@pytest.mark.parametrize("verb", [b"DATA\r\n", b"BDAT 1000\r\n"])
@pytest.mark.parametrize("how", ["fin", "rst", "close_notify"])
async def test_a11_a_connection_that_ends_in_a_message(verb: bytes, how: str, certificates: Certificates) -> None:
    tls = TlsContexts(
        TlsSettings(cert_file=str(certificates.cert_file), key_file=str(certificates.key_file)),
        certificates.cert_file.parent, "mail.example.test",
    )  # fmt: skip
    async with SmtpHarness(tls=tls) as server:
        before = len(asyncio.all_tasks())
        async with server.client() as smtp:
            assert (await smtp.command("EHLO client.test")).code == 250
            if how == "close_notify":
                assert (await smtp.command("STARTTLS")).code == 220
                context = certificates.client_context()
                await smtp.writer.start_tls(context, server_hostname="mail.example.test")
                assert (await smtp.command("EHLO client.test")).code == 250
            for command in ("MAIL FROM:<x@far.test>", f"RCPT TO:<anna@{DOMAIN}>"):
                assert (await smtp.command(command)).code == 250
            smtp.writer.write(verb)
            if verb.startswith(b"DATA"):
                assert (await smtp.reply()).code == 354
            smtp.writer.write(BEGIN)
            await smtp.writer.drain()
            if how == "fin":
                smtp.writer.write_eof()
            elif how == "rst":
                sock = smtp.writer.get_extra_info("socket")
                sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
                smtp.writer.transport.abort()
            else:
                smtp.writer.close()
            await server.settled()
        assert await server.count() == 0
        await soon(lambda: len(asyncio.all_tasks()) <= before)


async def _raw(server: SmtpHarness, *steps: bytes) -> list[Reply | None]:
    """Send octets step by step; the replies until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port())
    smtp = AsyncSmtp(0)
    smtp.reader, smtp.writer = reader, writer
    replies: list[Reply | None] = []
    try:
        for step in steps:
            writer.write(step)
            replies.append(await smtp.reply())
        while True:
            replies.append(await smtp.reply())
    except Closed:
        replies.append(None)
    finally:
        writer.close()
    return replies


def _codes(replies: list[Reply | None]) -> list[int]:
    return [0 if reply is None else reply.code for reply in replies]


async def test_a12_data_before_the_greeting() -> None:
    async with SmtpHarness(smtp={"greet_delay": 1.0}) as server:
        assert _codes(await _raw(server, b"EHLO client.test\r\n")) == [554, 0]


async def test_a12_data_that_is_there_when_the_connection_is_accepted() -> None:
    async with SmtpHarness() as server:
        # Blocking on purpose: the server, on the same loop, cannot look before both are done.
        with socket.create_connection(("127.0.0.1", server.port())) as sock:
            sock.sendall(b"EHLO client.test\r\n")
            sock.setblocking(False)
            said = await asyncio.get_running_loop().sock_recv(sock, 1000)
            assert said == b"554 5.5.0 The client spoke before it was its turn\r\n"


@pytest.mark.parametrize(
    ("steps", "codes"),
    [
        # the content sent with DATA, before 354 could be seen
        (
            [
                b"",
                b"EHLO c.test\r\n",
                b"MAIL FROM:<x@far.test>\r\nRCPT TO:<anna@example.test>\r\nDATA\r\nA: b\r\n.\r\n",
            ],
            [220, 250, 250, 250, 554, 0],
        ),
        ([b"", b"EHLO c.test\r\nMAIL FROM:<x@far.test>\r\n"], [220, 554, 0]),
        ([b"", b"HELO c.test\r\nMAIL FROM:<x@far.test>\r\n"], [220, 554, 0]),
        ([b"", b"EHLO c.test\r\n", b"AUTH PLAIN AAAA\r\nMAIL FROM:<x@far.test>\r\n"], [220, 250, 554, 0]),
        ([b"", b"EHLO c.test\r\n", b"QUIT\r\nMAIL FROM:<x@far.test>\r\n"], [220, 250, 221, 0]),
    ],
)
async def test_a12_commands_before_their_turn(steps: list[bytes], codes: list[int]) -> None:
    async with SmtpHarness() as server:
        assert _codes(await _raw(server, *steps)) == codes
        assert await server.count() == 0


async def test_a13_no_header_of_ours_has_a_line_of_the_peers() -> None:
    for name, value in (("X-Ok", "a\r\nX-Evil: 1"), ("X-Ok", "a\nb"), ("X\r\nEvil", "a"), ("X-Ok", "a\0")):
        with pytest.raises(ValueError, match="header field"):
            HeaderField(name, value)
    server = SmtpHarness()
    server.registry.on_message(lambda ctx: Accept(headers=(HeaderField("X-Checked", "yes"),)))
    async with server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.message("x@far.test", [f"anna@{DOMAIN}"], b"A: b\r\n\r\n")).code == 250
        (stored,) = await server.mail("anna")
        assert re.fullmatch(
            rb"Return-Path: <x@far.test>\r\nX-Checked: yes\r\nReceived: from client.test [^\r\n]+\r\n"
            rb"(\t[^\r\n]+\r\n)+A: b\r\n\r\n", stored,
        )  # fmt: skip


# A14: the model. Verb → (states in which it may come, the state it leads to); START, READY, MAIL, RCPT, CHUNKS.
_MODEL: dict[str, tuple[set[str], str]] = {
    "EHLO c.test": ({"START", "READY", "MAIL", "RCPT", "CHUNKS"}, "READY"),
    "HELO c.test": ({"START", "READY", "MAIL", "RCPT", "CHUNKS"}, "READY"),
    "MAIL FROM:<x@far.test>": ({"READY"}, "MAIL"),
    f"RCPT TO:<anna@{DOMAIN}>": ({"MAIL", "RCPT"}, "RCPT"),
    "BDAT 2": ({"RCPT", "CHUNKS"}, "CHUNKS"),
    "BDAT 2 LAST": ({"RCPT", "CHUNKS"}, "READY"),
    "DATA": ({"RCPT"}, "READY"),
    "NOOP": ({"START", "READY", "MAIL", "RCPT", "CHUNKS"}, ""),
    "VRFY x": ({"START", "READY", "MAIL", "RCPT", "CHUNKS"}, ""),
    "RSET": ({"START", "READY", "MAIL", "RCPT", "CHUNKS"}, "READY"),
}
_REFUSED = [
    "MAIL FROM:bad",
    "RCPT TO:<nobody@example.test>",
    "RCPT TO:<x@far.test>",
    "MAIL FROM:<x@far.test> X=1",
    "JUNK",
]


async def _one_step(smtp: AsyncSmtp, verb: str, state: str) -> str:
    """Send a command, compare with the model, and return the new state."""
    if verb in _REFUSED:
        reply = await smtp.command(verb)
        assert 500 <= reply.code <= 555, (verb, state, reply)
        return state
    allowed, leads_to = _MODEL[verb]
    reply = await smtp.command(f"{verb}\r\n\r\n".encode() if verb.startswith("BDAT") else verb)
    if state not in allowed:
        assert reply.code == 503, (verb, state, reply)
        return state
    if verb == "DATA":
        assert reply.code == 354, (verb, state, reply)
        reply = await smtp.command(b".\r\n")
    assert reply.code in (250, 252), (verb, state, reply)
    return state if not leads_to or (verb == "RSET" and state == "START") else leads_to


@settings(max_examples=25)
@given(st.lists(st.sampled_from([*_MODEL, *_REFUSED]), min_size=5, max_size=60))
def test_a14_random_commands_follow_the_model(verbs: list[str]) -> None:
    async def play() -> None:
        limits = {"errors": 1000, "junk_commands": 1000}
        async with SmtpHarness(limits=limits) as server, server.client() as smtp:
            state = "START"
            for verb in verbs:
                state = await _one_step(smtp, verb, state)

    asyncio.run(play())


