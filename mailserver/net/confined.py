"""Reading what strangers packed and wrote, in a process that can do no harm: it has little time and memory, writes no
file, starts no process, and has nothing of ours but the octets that it reads (ATTACKS L14).

The module whose function runs there may import only what comes with Python, and others like itself.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["Confined", "ConfinedFailed"]

_ROOT = Path(__file__).parents[2]
_CHILD = Path(__file__).with_name("confined_child.py")
_MAX_OUTPUT = 4 << 20
#: The time of the processor is bounded too; on a busy machine that may last.
_WALL_SECONDS = 30.0


class ConfinedFailed(Exception):
    """There is no result; in words."""


class Confined:
    """A function from octets to octets, by the names of its module and itself.

    `seconds` of the processor's time and `memory` (octets of address space) are what it may use.
    """

    def __init__(self, module: str, function: str, *, seconds: int = 2, memory: int = 256 << 20) -> None:
        self._arguments = (str(_ROOT), module, function, str(seconds), str(memory))

    async def run(self, octets: bytes) -> bytes:
        """Raises ConfinedFailed."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_CHILD), *self._arguments, env={}, cwd="/",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise ConfinedFailed(f"no process can be started: {error.strerror}") from None
        try:
            async with asyncio.timeout(_WALL_SECONDS):
                found = await _talk(process, octets)
                code = await process.wait()
        except TimeoutError:
            raise ConfinedFailed("reading it takes too long") from None
        finally:
            await _end(process)
        if code or len(found) > _MAX_OUTPUT:
            raise ConfinedFailed("reading it takes too much time or memory")
        return found


async def _talk(process: asyncio.subprocess.Process, octets: bytes) -> bytes:
    """What it answers, or a bit more than the most that counts."""
    if process.stdin is None or process.stdout is None:
        return b""
    process.stdin.write(octets)
    try:
        await process.stdin.drain()
    except OSError:
        # It has ended already; its code says more.
        return b""
    process.stdin.close()
    found = bytearray()
    while len(found) <= _MAX_OUTPUT and (chunk := await process.stdout.read(1 << 16)):
        found += chunk
    if len(found) > _MAX_OUTPUT:
        await _end(process)
    return bytes(found)


async def _end(process: asyncio.subprocess.Process) -> None:
    # It may have ended by itself since somebody looked.
    with suppress(ProcessLookupError):
        process.kill()
    # asyncio tells its end only when all that it had said was read.
    while process.stdout is not None and await process.stdout.read(1 << 16):
        pass
    await process.wait()
