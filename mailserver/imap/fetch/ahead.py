"""Reading ahead: while one batch goes to the client, a thread reads the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TypeVar

__all__ = ["one_ahead"]

_T = TypeVar("_T")


async def one_ahead(batches: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    """The same batches; the next is begun before one is handed out, and none after that: memory is for two."""
    async with aclosing(batches):
        coming = asyncio.ensure_future(anext(batches, None))
        try:
            while (batch := await coming) is not None:
                coming = asyncio.ensure_future(anext(batches, None))
                # So that the thread has it before what is at hand is made into answers.
                await asyncio.sleep(0)
                yield batch
        finally:
            if not coming.done():
                coming.cancel()
                with suppress(asyncio.CancelledError):
                    await coming
