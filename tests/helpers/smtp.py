"""SMTP clients that send exactly the octets they are told to: one that blocks, one for asyncio."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mailserver.net.unix import reachable_path
from tests.helpers.sockets import BlockingClient, Closed

__all__ = ["AsyncSmtp", "Closed", "Reply", "Smtp", "dot_stuff"]

_TIMEOUT = 60.0
_LINE = re.compile(rb"([0-9]{3})([ -])(.*)\r\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of one or more lines; `lines` without code and line ends."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def status(self) -> str:
        """The enhanced status code of the last line, "" if it has none (RFC 2034)."""
        match = re.match(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)", self.lines[-1])
        return match[0] if match else ""

    def __str__(self) -> str:
        return f"{self.code} {' / '.join(self.lines)}"


def dot_stuff(message: bytes) -> bytes:
    """As it goes after DATA, with the final dot (RFC 5321 §4.5.2)."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", message) + b".\r\n"


def _parse(lines: list[bytes]) -> Reply:
    matches = [_LINE.fullmatch(line) for line in lines]
    assert all(matches), f"not a reply: {lines!r}"
    codes = {match[1] for match in matches if match}
    assert len(codes) == 1, f"codes differ within a reply: {lines!r}"
    return Reply(int(codes.pop()), tuple(match[3].decode("utf-8", "replace") for match in matches if match))


def _octets(command: str | bytes) -> bytes:
    return command if isinstance(command, bytes) else command.encode() + b"\r\n"


class Smtp(BlockingClient):
    """Blocking. The greeting is read on connecting, unless `greeting` is False."""

    greeting: Reply | None = None

    def __init__(self, port: int, *, greeting: bool = True, timeout: float = _TIMEOUT, **arguments: Any) -> None:
        self._greeted = greeting
        super().__init__(port, timeout=timeout, **arguments)

    def greet(self) -> None:
        """One reply."""
        if self._greeted:
            self.greeting = self.reply()

    def line(self) -> bytes:
        """One line with its end. Raises Closed."""
        while (end := self._buffer.find(b"\n") + 1) == 0:
            self._receive()
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def reply(self) -> Reply:
        """The next reply. Raises Closed."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return _parse(lines)

    def command(self, command: str | bytes) -> Reply:
        """Send a line (str: CRLF is added; bytes: as they are) and read one reply."""
        self.send(_octets(command))
        return self.reply()

    def ehlo(self, name: str = "client.test") -> Reply:
        """EHLO, which must work."""
        return self.expect(f"EHLO {name}", 250)

    def expect(self, command: str | bytes, code: int) -> Reply:
        """A command that must get this code."""
        reply = self.command(command)
        assert reply.code == code, f"{command!r}: {reply}"
        return reply

    def starttls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        """STARTTLS and the handshake."""
        self.expect("STARTTLS", 220)
        assert self._buffer == b""
        self.sock = context.wrap_socket(self.sock, server_hostname=name)

    def auth_plain(self, user: str, password: str) -> Reply:
        """AUTH PLAIN with an initial response (RFC 4616)."""
        return self.command(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()) + b"\r\n")

    def message(self, sender: str, recipients: list[str], message: bytes, parameters: str = "") -> Reply:
        """A whole transaction by DATA; the reply to it, or to the first command that was refused."""
        reply = self.command(f"MAIL FROM:<{sender}>{' ' if parameters else ''}{parameters}")
        for recipient in recipients:
            if reply.code != 250:
                return reply
            reply = self.command(f"RCPT TO:<{recipient}>")
        if reply.code == 250:
            reply = self.command("DATA")
        if reply.code != 354:
            return reply
        return self.command(dot_stuff(message))

    def is_closed(self) -> bool:
        """Reads on: True if the server closes without another line (it may say 421 first)."""
        try:
            while True:
                line = self.line()
                assert line.startswith(b"421"), line
        except Closed:
            return True
        except TimeoutError:
            return False

    def reset(self) -> None:
        """Close with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class AsyncSmtp:
    """For many at a time: `async with AsyncSmtp(port) as smtp`; with a path, over a Unix socket."""

    def __init__(self, port: int | Path, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._host = host
        self._tls = tls

    async def __aenter__(self) -> AsyncSmtp:
        if isinstance(self._port, Path):
            with reachable_path(self._port) as name:
                self.reader, self.writer = await asyncio.open_unix_connection(name)
        else:
            self.reader, self.writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            self.greeting = await self.reply()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    async def reply(self) -> Reply:
        """The next reply. Raises Closed."""
        lines: list[bytes] = []
        while not lines or lines[-1][3:4] == b"-":
            try:
                async with asyncio.timeout(_TIMEOUT):
                    lines.append(await self.reader.readuntil(b"\r\n"))
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise Closed from error
        return _parse(lines)

    async def command(self, command: str | bytes) -> Reply:
        """Send a line (str: CRLF is added; bytes: as they are) and read one reply."""
        self.writer.write(_octets(command))
        try:
            await self.writer.drain()
        except ConnectionError as error:
            raise Closed from error
        return await self.reply()

    async def message(self, sender: str, recipients: list[str], message: bytes) -> Reply:
        """A whole transaction by DATA; the reply to it, or to the first command that was refused."""
        reply = await self.command(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            if reply.code != 250:
                return reply
            reply = await self.command(f"RCPT TO:<{recipient}>")
        if reply.code == 250:
            reply = await self.command("DATA")
        if reply.code != 354:
            return reply
        return await self.command(dot_stuff(message))
