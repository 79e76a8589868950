"""What is read in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mailserver.net import confined
from mailserver.net.confined import Confined, ConfinedFailed
from tests.helpers.dmarc_reports import EXAMPLE


async def test_the_reader_of_reports_needs_nothing_but_python() -> None:
    found = json.loads(await Confined("mailserver.mime.dmarc_feedback", "feedback_json").run(EXAMPLE))
    assert (found["messages"], found["failed"]) == (130, 7)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module whose functions do what they must not."""
    (tmp_path / "hostile.py").write_text(
        "import os, sys\n"
        "def spins(octets):\n    while True: pass\n"
        "def eats(octets):\n    return b'x' * (1 << 30)\n"
        "def talks(octets):\n    return b'x' * (5 << 20)\n"
        "def writes(octets):\n    with open(octets, 'wb') as file: file.write(b'x')\n    return b''\n"
        "def fails(octets):\n    raise KeyError\n"
        "def deaf(octets):\n    os._exit(0)\n"
        "def sees(octets):\n    return repr((dict(os.environ), os.getcwd(), os.listdir('/proc/self/fd'))).encode()\n"
    )
    monkeypatch.setattr(confined, "_ROOT", tmp_path)
    return "hostile"


@pytest.mark.parametrize("function", ["spins", "eats", "talks", "fails"])
async def test_l14_bounds(hostile: str, function: str) -> None:
    with pytest.raises(ConfinedFailed, match="too much time or memory"):
        await Confined(hostile, function, seconds=1).run(b"")


async def test_l14_one_that_says_more_than_is_read(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is not waited for in vain where it had said more than we wanted to hear."""
    read = asyncio.StreamReader.read

    async def late(self: Any, most: int = -1) -> bytes:
        while not self._paused and not self._eof:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return await read(self, most)

    monkeypatch.setattr(asyncio.StreamReader, "read", late)
    monkeypatch.setattr(confined, "_MAX_OUTPUT", 1)
    monkeypatch.setattr(confined, "_WALL_SECONDS", 20.0)
    with pytest.raises(ConfinedFailed, match="too much time or memory"):
        await Confined(hostile, "talks", seconds=10).run(b"")


async def test_l14_no_file_is_written(hostile: str, tmp_path: Path) -> None:
    path = tmp_path / "written"
    with pytest.raises(ConfinedFailed):
        await Confined(hostile, "writes").run(os.fsencode(path))
    assert not path.exists() or not path.read_bytes()


async def test_l14_it_has_nothing_of_ours(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    text = (await Confined(hostile, "sees").run(b"")).decode()
    assert "s3cret" not in text and "'/'" in text


async def test_one_that_does_not_listen(hostile: str) -> None:
    assert await Confined(hostile, "deaf").run(b"x" * (4 << 20)) == b""


async def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ConfinedFailed, match="no process can be started"):
        await Confined("x", "y").run(b"")


async def test_it_takes_too_long(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_WALL_SECONDS", 0.0)
    with pytest.raises(ConfinedFailed, match="too long"):
        await Confined(hostile, "spins").run(b"")
