"""IMAP clients that send exactly the octets they are told to: one that blocks, one for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.helpers.sockets import BlockingClient, Closed

__all__ = ["AsyncImap", "Closed", "Imap", "Response"]

_TIMEOUT = 60.0
_LITERAL = re.compile(rb"\{([0-9]+)\}\r\n\Z")


@dataclass(frozen=True, slots=True)
class Response:
    """What a command got: `status` OK, NO or BAD, its `text`; `untagged`: each whole, literals in place, no CRLF."""

    status: str
    text: str
    untagged: tuple[bytes, ...]

    def only(self, name: str) -> list[bytes]:
        """The untagged responses of a name (`EXISTS`, `FETCH`, `LIST`, …), whatever number stands before it."""
        pattern = re.compile(rb"\* (?:[0-9]+ )?%b\b" % name.encode(), re.IGNORECASE)
        return [line for line in self.untagged if pattern.match(line)]

    def code(self, name: str) -> str | None:
        """The argument of a response code in the tagged or an untagged status response; "" if it has none."""
        for line in (self.text.encode(), *(line for line in self.untagged)):
            if match := re.search(rb"\[%b(?: ([^\]]*))?\]" % name.encode(), line, re.IGNORECASE):
                return (match[1] or b"").decode()
        return None


def _split(lines: list[bytes]) -> Response:
    status, _, text = lines[-1].partition(b" ")[2].decode("utf-8", "replace").partition(" ")
    return Response(status.upper(), text, tuple(lines[:-1]))


class Imap(BlockingClient):
    """Blocking. The greeting is read on connecting."""

    greeting: bytes

    def __init__(self, port: int, *, timeout: float = _TIMEOUT, **arguments: Any) -> None:
        self._number = 0
        super().__init__(port, timeout=timeout, **arguments)

    def greet(self) -> None:
        """One response."""
        self.greeting = self.response_line()

    def response_line(self) -> bytes:
        """One response without its CRLF, literals in place. Raises Closed."""
        end = 0
        while True:
            while (line_end := self._buffer.find(b"\r\n", end)) < 0:
                self._receive()
            end = line_end + 2
            match = _LITERAL.search(self._buffer[max(0, end - 30) : end])
            if match is None:
                break
            end += int(match[1])
            while len(self._buffer) < end:
                self._receive()
        line, self._buffer = self._buffer[: end - 2], self._buffer[end:]
        return line

    def until_tagged(self, tag: str) -> Response:
        """Everything up to the tagged response. Raises Closed."""
        lines: list[bytes] = []
        while True:
            lines.append(self.response_line())
            if lines[-1].startswith(tag.encode() + b" "):
                return _split(lines)

    def tag(self) -> str:
        """A new tag."""
        self._number += 1
        return f"t{self._number}"

    def command(self, command: str | bytes, *literals: bytes) -> Response:
        """Send a command; after each `{}` in it comes the next of `literals`, when the server asks for it."""
        tag = self.tag()
        pieces = (command.encode() if isinstance(command, str) else command).split(b"{}")
        assert len(pieces) == len(literals) + 1
        out = tag.encode() + b" " + pieces[0]
        for literal, piece in zip(literals, pieces[1:], strict=True):
            self.send(out + b"{%d}\r\n" % len(literal))
            lines: list[bytes] = []
            while not (line := self.response_line()).startswith(b"+"):
                lines.append(line)
                if line.startswith(tag.encode() + b" "):
                    return _split(lines)
            out = literal + piece
        self.send(out + b"\r\n")
        return self.until_tagged(tag)

    def ok(self, command: str | bytes, *literals: bytes) -> Response:
        """A command that must work."""
        response = self.command(command, *literals)
        assert response.status == "OK", f"{command!r}: {response.status} {response.text}"
        return response

    def login(self, user: str, password: str) -> Response:
        """LOGIN, which must work."""
        return self.ok(f'LOGIN "{user}" "{password}"')

    def starttls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        """STARTTLS and the handshake."""
        self.ok("STARTTLS")
        assert self._buffer == b""
        self.sock = context.wrap_socket(self.sock, server_hostname=name)

    def append(self, mailbox: str, message: bytes, flags: str = "") -> Response:
        """APPEND, which must work."""
        return self.ok(f'APPEND "{mailbox}" {flags}{" " if flags else ""}{{}}', message)

    def uids(self, search: str = "ALL") -> list[int]:
        """UID SEARCH in the selected mailbox."""
        found = [line for line in self.ok(f"UID SEARCH {search}").untagged if line.upper().startswith(b"* SEARCH")]
        return [int(word) for line in found for word in line.split()[2:]]

    def bodies(self, uids: str = "1:*") -> dict[int, bytes]:
        """Whole messages by UID, without setting \\Seen."""
        out: dict[int, bytes] = {}
        for line in self.ok(f"UID FETCH {uids} (UID BODY.PEEK[])").only("FETCH"):
            uid = re.search(rb"UID ([0-9]+)", line)
            body = re.search(rb"BODY\[\] \{([0-9]+)\}\r\n", line)
            assert uid is not None and body is not None, line[:200]
            out[int(uid[1])] = line[body.end() : body.end() + int(body[1])]
        return out

    def is_closed(self) -> bool:
        """Reads on: True if the server closes, having said BYE or nothing."""
        try:
            while True:
                assert self.response_line().startswith(b"* BYE")
        except Closed:
            return True
        except TimeoutError:
            return False


class AsyncImap:
    """For many at a time: `async with AsyncImap(port) as imap`. No literals are sent."""

    def __init__(self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._address = (host, port)
        self._tls = tls
        self._number = 0

    async def __aenter__(self) -> AsyncImap:
        self.reader, self.writer = await asyncio.open_connection(*self._address, ssl=self._tls, limit=1 << 20)
        try:
            self.greeting = await self.response_line()
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

    async def response_line(self) -> bytes:
        """One response without its CRLF, literals in place. Raises Closed."""
        line = b""
        try:
            async with asyncio.timeout(_TIMEOUT):
                while True:
                    line += await self.reader.readuntil(b"\r\n")
                    match = _LITERAL.search(line[-30:])
                    if match is None:
                        return line[:-2]
                    line += await self.reader.readexactly(int(match[1]))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed from error

    async def command(self, command: str) -> Response:
        """Send a command and read all that it gets."""
        self._number += 1
        tag = f"t{self._number}"
        self.writer.write(f"{tag} {command}\r\n".encode())
        lines: list[bytes] = []
        while not lines or not lines[-1].startswith(tag.encode() + b" "):
            lines.append(await self.response_line())
        return _split(lines)

    async def ok(self, command: str) -> Response:
        """A command that must work."""
        response = await self.command(command)
        assert response.status == "OK", f"{command!r}: {response.status} {response.text}"
        return response
