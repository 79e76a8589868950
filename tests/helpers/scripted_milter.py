"""A filter that says what the test wrote down, on a Unix socket in the test's own loop."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["ScriptedMilter", "milter_packet"]

Script = Callable[[str, bytes], bytes | None]


def milter_packet(kind: str, data: bytes = b"") -> bytes:
    """One packet."""
    return struct.pack(">I", len(data) + 1) + kind.encode() + data


class ScriptedMilter:
    """`answer(kind, data)` has the octets to send for a step; None hangs up. `steps` are all that came, macros apart.

    Steps A, D and Q are not answered, and O is as `negotiation` says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: list[str] = []
        self.macros: dict[str, dict[str, str]] = {}
        self.data: list[tuple[str, bytes]] = []
        self.connections = 0
        self.open = 0
        self.actions, self.without, self.version = 0x1FF, 0, 6
        self.answer: Script = lambda kind, data: milter_packet("c")
        self._happened = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._client, str(self.path))
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.gather(*self._tasks)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that a step or the end of a connection brings about."""
        async with asyncio.timeout(60):
            while not true():
                self._happened.clear()
                await self._happened.wait()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                octets = await reader.readexactly(length)
                said = self._answer(chr(octets[0]), octets[1:])
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self._happened.set()
            writer.close()

    def _answer(self, kind: str, data: bytes) -> bytes | None:
        if kind == "O":
            return milter_packet("O", struct.pack(">III", self.version, self.actions, self.without))
        if kind == "D":
            words = data[1:].decode().split("\0")[:-1]
            self.macros.setdefault(chr(data[0]), {}).update(zip(words[::2], words[1::2], strict=True))
            return b""
        self.steps.append(kind)
        self.data.append((kind, data))
        self._happened.set()
        return b"" if kind in "AQ" else self.answer(kind, data)
