"""A mail server on a loopback port that answers as a test tells it, and keeps the octets that it got.

`answers` says what to do at a stage (GREETING, EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, BDAT, END, RSET, QUIT, or
OTHER: any other line): octets are sent as they are (several: one after the other, each at the next time, the last one
for good); CLOSE, RESET and SILENCE do that instead; a function gets the command line and returns one of these, or None
for the usual reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import cast

from mailserver.net.starttls import start_tls
from mailserver.wire.dotstuff import DotReader
from tests.helpers.waiting import soon

__all__ = ["CLOSE", "RESET", "SILENCE", "Received", "Receiver"]


class _Act:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


CLOSE, RESET, SILENCE = _Act("CLOSE"), _Act("RESET"), _Act("SILENCE")

One = bytes | _Act | None
Answer = One | list[One] | Callable[[bytes], One]

_USUAL = {
    "GREETING": b"220 mx.test ESMTP\r\n",
    "HELO": b"250 mx.test\r\n",
    "STARTTLS": b"220 2.0.0 Go ahead\r\n",
    "AUTH": b"235 2.7.0 Good\r\n",
    "MAIL": b"250 2.1.0 Ok\r\n",
    "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": b"354 Go ahead\r\n",
    "END": b"250 2.0.0 Kept\r\n",
    "RSET": b"250 2.0.0 Ok\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n",
}
_UNKNOWN = b"502 5.5.1 Unknown\r\n"


@dataclass
class Received:
    """A message: the arguments of its commands, and its content without stuffed dots. `tls`: it came encrypted."""

    mail: str
    recipients: list[str]
    content: bytes
    connection: int
    tls: bool = False


@dataclass
class Receiver:
    """`async with Receiver() as mx`: `mx.port`; `mx.messages` are those that got 250 at their end."""

    features: Sequence[str] = ("PIPELINING", "8BITMIME", "SIZE 10000000", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
    tls_features: Sequence[str] | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    messages: list[Received] = field(default_factory=list)
    #: Every line that came, in order.
    lines: list[str] = field(default_factory=list)
    #: What came in one read while commands were expected, per connection.
    reads: list[list[bytes]] = field(default_factory=list)
    connections: int = 0
    #: Where connections came from, in order.
    peers: list[str] = field(default_factory=list)
    open: int = 0

    async def __aenter__(self) -> Receiver:
        loop = asyncio.get_running_loop()
        self._used: dict[str, int] = {}
        self._live: set[_Session] = set()
        self._server = await loop.create_server(
            lambda: _Session(self), self.host, self.port, ssl=self.tls if self.implicit_tls else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
                        ) -> None:  # fmt: skip
        self._server.close()
        sessions = list(self._live)
        for session in sessions:
            session.stop()
        await asyncio.gather(*(session.task for session in sessions if session.task), return_exceptions=True)
        # A connection is closed in a later turn of the loop, which may be the last one.
        await asyncio.sleep(0)

    def verbs(self) -> list[str]:
        """The commands that came, by name."""
        return [line.split(" ")[0].split(":")[0].upper() for line in self.lines]

    async def arrived(self, count: int = 1) -> None:
        """Wait until there are so many messages."""
        await soon(lambda: len(self.messages) >= count, lambda: f"{len(self.messages)} messages of {count}")

    async def settled(self) -> None:
        """Wait until no connection is left."""
        await soon(lambda: self.open == 0, "connections remain")

    def answer(self, stage: str, line: bytes) -> One:
        given = self.answers.get(stage)
        if given is None or isinstance(given, bytes | _Act):
            return given
        if callable(given):
            return given(line)
        at = self._used.get(stage, 0)
        self._used[stage] = at + 1
        return given[min(at, len(given) - 1)]


class _Gone(Exception):
    pass


class _Session(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.buffer = b""
        self.arrived = asyncio.Event()
        self.ended = False
        self.encrypted = receiver.implicit_tls
        self.task: asyncio.Task[None] | None = None
        #: The stage of the last answer.
        self.waiting_in = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.task is not None:
            return
        self.transport = cast("asyncio.Transport", transport)
        self.receiver.connections += 1
        self.receiver.peers.append(transport.get_extra_info("peername")[0])
        self.receiver.open += 1
        self.number = self.receiver.connections
        self.reads: list[bytes] = []
        self.receiver.reads.append(self.reads)
        self.receiver._live.add(self)
        self.task = asyncio.get_running_loop().create_task(self.serve())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.reads.append(data)
        self.arrived.set()

    def connection_lost(self, error: Exception | None) -> None:
        # Not before: after the dialogue TLS still waits for the goodbye of the other side, which may be a dead process.
        self.receiver._live.discard(self)
        self.ended = True
        self.arrived.set()

    def stop(self) -> None:
        self.transport.abort()
        if self.task is not None:
            self.task.cancel()

    async def more(self) -> None:
        self.arrived.clear()
        if self.ended:
            raise _Gone
        await self.arrived.wait()

    async def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            await self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    async def serve(self) -> None:
        try:
            await self.dialogue()
        except (_Gone, ConnectionError):
            pass
        finally:
            self.transport.close()
            self.receiver.open -= 1

    async def say(self, stage: str, line: bytes = b"", kept: Received | None = None) -> int:
        """Answer; the code that was sent (0: none that counts). `kept` is kept if that is 250, before anybody reads so.
        """
        self.waiting_in = stage
        answer = self.receiver.answer(stage, line)
        if answer is None:
            answer = self.usual(stage)
        if isinstance(answer, _Act):
            await self.act(answer)
            return 0
        found = re.match(rb"\d{3}", answer)
        code = int(found[0]) if found else 0
        if kept is not None and code == 250:
            self.receiver.messages.append(kept)
        self.transport.write(answer)
        return code

    def usual(self, stage: str) -> bytes:
        if stage != "EHLO":
            return _USUAL.get(stage, _UNKNOWN)
        features = list(self.receiver.features)
        if self.encrypted and self.receiver.tls_features is not None:
            features = list(self.receiver.tls_features)
        elif self.receiver.tls is not None and not self.encrypted:
            features.append("STARTTLS")
        lines = ["mx.test", *features]
        return b"".join(
            f"250{' ' if number == len(lines) else '-'}{line}\r\n".encode() for number, line in enumerate(lines, 1)
        )

    async def act(self, act: _Act) -> None:
        if act is RESET:
            peer: socket.socket | None = self.transport.get_extra_info("socket")
            if peer is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.transport.abort()
        if act is SILENCE:
            while True:
                await self.more()
        raise _Gone

    async def dialogue(self) -> None:
        if await self.say("GREETING") != 220:
            with contextlib.suppress(_Gone):
                await self.more()
            return
        mail, recipients = "", list[str]()
        while True:
            line = await self.line()
            verb, _, argument = line.decode("utf-8", "surrogateescape").partition(" ")
            verb = verb.upper()
            self.receiver.lines.append(line.decode("utf-8", "surrogateescape"))
            if verb == "BDAT":
                await self.chunk(argument, mail, recipients)
                continue
            code = await self.say(verb if verb in _USUAL or verb == "EHLO" else "OTHER", line)
            if verb == "MAIL":
                mail, recipients = argument if code == 250 else "", []
            elif verb == "RCPT" and 200 <= code < 300 and mail:
                recipients.append(argument)
            elif verb == "DATA" and code == 354:
                await self.data(mail, recipients)
            elif verb == "STARTTLS" and code == 220 and self.receiver.tls is not None:
                await self.encrypt()
            elif verb == "QUIT" or code == 421:
                return

    async def data(self, mail: str, recipients: list[str]) -> None:
        reader, content = DotReader(), b""
        while True:
            octets, self.buffer = self.buffer, b""
            content += reader.feed(octets)
            if reader.done:
                break
            await self.more()
        self.buffer = reader.rest
        await self.keep(mail, recipients, content)

    async def chunk(self, argument: str, mail: str, recipients: list[str]) -> None:
        size = int(argument.split(" ")[0])
        while len(self.buffer) < size:
            await self.more()
        content, self.buffer = self.buffer[:size], self.buffer[size:]
        assert argument.endswith("LAST"), "one chunk is all that these tests send"
        if mail and recipients:
            await self.keep(mail, recipients, content)
        else:
            await self.say("BDAT")

    async def keep(self, mail: str, recipients: list[str], content: bytes) -> None:
        message = Received(mail, list(recipients), content, self.number, self.encrypted)
        await self.say("END", content, message if mail and recipients else None)

    async def encrypt(self) -> None:
        assert self.receiver.tls is not None
        # Before the handshake: what comes with its end is the client's next command already.
        self.buffer = b""
        self.transport = await start_tls(self.transport, self, self.receiver.tls, handshake=5.0)
        self.encrypted = True
