"""An operation in the command's own process, while no server runs: under the data's lock, over the same parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, BinaryIO

import orjson

from mailserver.app import logs
from mailserver.app.build import build
from mailserver.app.checks import environment_problems
from mailserver.app.load import ConfigurationError, Loaded
from mailserver.app.lock import data_lock
from mailserver.app.operations import Operations
from mailserver.wire.control import Request

__all__ = ["run"]

CHUNK = 1 << 16


class _File:
    """A file's octets from its present position on, as an operation reads them."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self.size = 0
        if file is not None:
            at = file.tell()
            self.size = file.seek(0, os.SEEK_END) - at
            file.seek(at)

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it."""
        while self._file is not None and (chunk := self._file.read(CHUNK)):
            yield chunk


def run(loaded: Loaded, operation: str, arguments: Mapping[str, Any], body: BinaryIO | None) -> Any:
    """Build the server without its listeners, run one operation, take everything down.

    Raises:
        DataLocked: a server started meanwhile.
        ConfigurationError: this configuration cannot be used.
        MailError, ValueError: the operation's own words.
    """
    logs.configure("warning", "text")
    if problems := environment_problems(loaded):
        raise ConfigurationError(problems)
    os.umask(0o077)
    with data_lock(loaded.data_dir):
        return asyncio.run(_perform(loaded, Request(command=operation, arguments=arguments), _File(body)))


async def _perform(loaded: Loaded, request: Request, body: _File) -> Any:
    async with AsyncExitStack() as stack:
        app = await build(loaded, stack)
        # As it would come through the admin socket.
        return orjson.loads(orjson.dumps(await Operations(app)(request, body)))
