"""A client's side of COMPRESS=DEFLATE (RFC 4978), over the streams of AsyncImap."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from tests.helpers.imap import AsyncImap

__all__ = ["compressed", "deflated"]


def deflated(data: bytes, *, level: int = 6) -> bytes:
    """These octets as the beginning of a stream."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)


class _Reader(asyncio.StreamReader):
    """Inflates what another reader gets; `rest` is what came behind the end of the stream."""

    def __init__(self, source: asyncio.StreamReader) -> None:
        super().__init__(limit=1 << 24)
        self.rest = b""
        self._task = asyncio.create_task(self._copy(source))

    async def _copy(self, source: asyncio.StreamReader) -> None:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while data := await source.read(1 << 16):
                self.feed_data(stream.decompress(data))
                self.rest = stream.unused_data
        finally:
            self.feed_eof()


    async def stop(self) -> None:
        """Leave what comes now to the other reader."""
        self._task.cancel()
        await asyncio.wait([self._task])


class _Writer:
    """Deflates what goes to another writer."""

    def __init__(self, target: asyncio.StreamWriter) -> None:
        self._target = target
        self._stream = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)

    def write(self, data: bytes) -> None:
        self._target.write(self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


async def compressed(imap: AsyncImap) -> AsyncImap:
    """Switch it on; from now on the client's own methods speak it."""
    await imap.ok("COMPRESS DEFLATE")
    imap.reader = _Reader(imap.reader)
    imap.writer = _Writer(imap.writer)  # type: ignore[assignment]
    return imap
