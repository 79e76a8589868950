"""A message on its way in, held in memory: `ports.store.Content` for tests of what takes one."""

from __future__ import annotations

__all__ = ["BytesContent"]


class BytesContent:
    """Content that is already there; a `head_size` below its size makes it look like one that spilled to a file."""

    def __init__(self, data: bytes, head_size: int = 1 << 20) -> None:
        self._data = data
        self._head_size = head_size

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, chunk: bytes) -> None:
        self._data += chunk

    async def read(self, start: int, size: int) -> bytes:
        return self._data[start : start + size]

    def head(self) -> bytes:
        return self._data[: self._head_size]

    async def __aenter__(self) -> BytesContent:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass
