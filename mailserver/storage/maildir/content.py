"""A message on its way in: in memory while it is small, in an unnamed file of the mail's own file system above that."""

from __future__ import annotations

import os
import resource
import secrets
import threading
from pathlib import Path
from types import TracebackType

from mailserver.model.errors import LimitReached, StorageFailure
from mailserver.net import files
from mailserver.net.workers import Workers

__all__ = ["ContentSpace", "MaildirContent", "bare_newlines"]

HEAD_SIZE = 1 << 20
_SPILL_CHUNK = 256 << 10


def bare_newlines(chunk: bytes, last: int) -> int:
    """How many LF of `chunk` have no CR before them; `last` is the octet before the chunk, or -1."""
    return chunk.count(b"\n") - chunk.count(b"\r\n") - (last == 13 and chunk[:1] == b"\n")


class ContentSpace:
    """The memory that all messages share, and the place for those that are too large for it."""

    def __init__(self, directory: Path, workers: Workers, per_message: int, memory: int) -> None:
        self.directory = directory
        self.workers = workers
        self.per_message = per_message
        self.memory = memory
        self.used = 0
        #: Of all messages that are being received.
        self.files = 0

    @property
    def most_files(self) -> int:
        """A tenth of what the process may open: one MULTIAPPEND holds up to a thousand messages until its end."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return 1 << 30 if soft == resource.RLIM_INFINITY else max(8, soft // 10)

    def open_file(self) -> int:
        """A file without a name, which vanishes with its descriptor."""
        try:
            return os.open(self.directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            # No O_TMPFILE on this file system: a name that exists for a moment does the same.
            path = self.directory / secrets.token_hex(8)
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.unlink(path)
            return fd


class MaildirContent:
    """One message. `parts` and then, if `fd` is not None, the file: `parts` holds what is not yet in the file."""

    __slots__ = (
        "_closed", "_counted", "_guard", "_has_file", "_last", "_space", "_waiting", "bare", "fd", "filed", "parts",
        "size",
    )  # fmt: skip

    def __init__(self, space: ContentSpace) -> None:
        self._space = space
        self.parts: list[bytes] = []
        self.fd: int | None = None
        #: Octets in the file.
        self.filed = 0
        self.size = 0
        #: LF without CR before it: `size + bare` is the size with CRLF.
        self.bare = 0
        self._waiting = 0
        #: What of it counts in the memory that all share.
        self._counted = 0
        self._last = -1
        # Held by the thread that writes the file, so that a cancelled task cannot close it under its hands.
        self._guard = threading.Lock()
        self._closed = self._has_file = False

    async def write(self, chunk: bytes) -> None:
        """Append. Raises StorageFailure (disk full)."""
        if not chunk:
            return
        if type(chunk) is not bytes:
            chunk = bytes(chunk)
        self.bare += bare_newlines(chunk, self._last)
        self._last = chunk[-1]
        size = len(chunk)
        self.size += size
        self.parts.append(chunk)
        space = self._space
        if self.fd is None:
            space.used += size
            self._counted += size
            if self.size <= space.per_message and space.used <= space.memory:
                return
        self._waiting += size
        if self.fd is None or self._waiting >= _SPILL_CHUNK:
            await self._spill()

    async def _spill(self) -> None:
        parts, self.parts = self.parts, []
        self._waiting = 0
        first = self.fd is None
        self._uncount()
        if not self._has_file:
            if self._space.files >= self._space.most_files:
                raise LimitReached("too many messages at once, try again later", status="4.3.2", temporary=True)
            self._space.files += 1
            self._has_file = True
        try:
            await self._space.workers.run(self._spill_now, parts)
        except OSError as error:
            text = "no room for the message, try again later"
            if first and self._space.used >= self._space.memory:
                raise LimitReached(text, detail=str(error), status="4.3.1", temporary=True) from error
            raise StorageFailure(text, detail=str(error), status="4.3.1") from error
        self.filed = self.size

    def _spill_now(self, parts: list[bytes]) -> None:
        with self._guard:
            if self._closed:
                return
            if self.fd is None:
                self.fd = self._space.open_file()
            files.write_all(self.fd, parts)

    async def read(self, start: int, size: int) -> bytes:
        """A range of what was written."""
        if self.fd is None:
            return b"".join(self.parts)[start : start + size] if self.parts else b""
        filed = max(0, min(size, self.filed - start))
        data = await self._space.workers.run(os.pread, self.fd, filed, start) if filed else b""
        if size > filed and self.parts:
            from_memory = max(0, start - self.filed)
            data += b"".join(self.parts)[from_memory : from_memory + size - filed]
        return data

    def head(self) -> bytes:
        """The first octets, at most 1 MiB."""
        if self.fd is None:
            if len(self.parts) > 1:
                self.parts = [b"".join(self.parts)]
            return self.parts[0][:HEAD_SIZE] if self.parts else b""
        # It was written a moment ago, so this is a copy from the page cache.
        head = os.pread(self.fd, HEAD_SIZE, 0)
        return head if len(head) == HEAD_SIZE else (head + b"".join(self.parts))[:HEAD_SIZE]

    def close(self) -> None:
        """Throw it away."""
        with self._guard:
            self._closed = True
            if self.fd is not None:
                os.close(self.fd)
        self._space.files -= self._has_file
        self._has_file = False
        self._uncount()
        self.fd = None
        self.parts = []
        self.size = self.filed = self.bare = self._waiting = 0

    def _uncount(self) -> None:
        self._space.used -= self._counted
        self._counted = 0

    async def __aenter__(self) -> MaildirContent:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
