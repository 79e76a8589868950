"""The admin socket's server: how commands reach the running server, which is the only writer.

The socket has mode 0600, and the kernel tells who is at the other end: only our own user and root are answered. The
body of `send` is streamed to its handler. Frames: `wire/control.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from mailserver.model.errors import MailError
from mailserver.net.unix import bind_unix, peer_uid, remove_socket
from mailserver.wire.control import LENGTH_SIZE, MAX_ANSWER, MAX_REQUEST, Request, decode_request, encode, frame_length

__all__ = ["Body", "ControlServer", "Handler"]

log = structlog.get_logger()

MAX_CONNECTIONS = 16
TIMEOUT = 30.0
CHUNK = 1 << 16
#: Of an answer.
PIECE = 1 << 18

_GONE = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)


class Body:
    """The octets after a request; can be read once."""

    def __init__(self, reader: asyncio.StreamReader, size: int) -> None:
        self._reader = reader
        self._left = size
        self.size = size

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it, in order. Raises asyncio.IncompleteReadError (the client went away), TimeoutError (it stalled)."""
        while self._left:
            async with asyncio.timeout(TIMEOUT):
                chunk = await self._reader.read(min(CHUNK, self._left))
            if not chunk:
                raise asyncio.IncompleteReadError(b"", self._left)
            self._left -= len(chunk)
            yield chunk


Handler = Callable[[Request, Body], Awaitable[Any]]


class ControlServer:
    """The service behind the socket at `path`; `handler(request, body)` does the work and returns JSON values.

    A MailError or ValueError of the handler is told to the client in its words; anything else is logged and told as
    an internal error.
    """

    name = "control"

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._busy: set[asyncio.Task[Any]] = set()

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Serve until `stopping`, then let requests in hand finish."""
        with bind_unix(self._path, 0o600) as listening:
            server = await asyncio.start_unix_server(
                self._connected, sock=listening, limit=CHUNK, backlog=MAX_CONNECTIONS
            )
            try:
                ready()
                await stopping.wait()
                server.close()
                if self._busy:
                    await asyncio.wait(set(self._busy))
            finally:
                server.close()
                for task in self._busy:
                    task.cancel()
                remove_socket(self._path)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._busy) >= MAX_CONNECTIONS or not _peer_allowed(writer):
            writer.close()
            return
        self._busy.add(task)
        try:
            answer = await self._answer(reader)
            # Piece by piece: a listing may have tens of megabytes, and one write would copy them all at once.
            for at in range(0, len(answer), PIECE):
                async with asyncio.timeout(TIMEOUT):
                    writer.write(answer[at : at + PIECE])
                    await writer.drain()
        except _GONE as error:
            log.debug("control connection ended", error=type(error).__name__)
        finally:
            self._busy.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(TIMEOUT):
                length = frame_length(await reader.readexactly(LENGTH_SIZE), MAX_REQUEST)
                request = decode_request(await reader.readexactly(length))
            result = await self._handler(request, Body(reader, request.body))
            return encode({"ok": True, "result": result}, MAX_ANSWER)
        except _GONE:
            raise
        except MailError as error:
            return encode({"ok": False, "error": error.for_operator}, MAX_ANSWER)
        except ValueError as error:
            return encode({"ok": False, "error": str(error)}, MAX_ANSWER)
        except Exception:
            log.exception("control command failed")
            return encode({"ok": False, "error": "internal error; the server's log says more"}, MAX_ANSWER)


def _peer_allowed(writer: asyncio.StreamWriter) -> bool:
    uid = peer_uid(writer)
    if uid in (0, os.geteuid()):
        return True
    log.warning("control connection refused", uid=uid)
    return False
