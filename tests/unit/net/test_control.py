from __future__ import annotations

import asyncio
import io
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.errors import NotFound
from mailserver.net.control import Body, ControlServer, _peer_allowed
from mailserver.net.control_client import ControlRefused, ControlUnreachable, call
from mailserver.net.unix import reachable_path
from mailserver.wire.control import MAX_REQUEST, Request, decode_answer, decode_request, encode, frame_length


async def handler(request: Request, body: Body) -> Any:
    if request.command == "echo":
        return request.arguments
    if request.command == "measure":
        return sum([len(chunk) async for chunk in body.chunks()])
    if request.command == "missing":
        raise NotFound("no such thing", detail="why")
    if request.command == "wrong":
        raise ValueError("must be text")
    raise RuntimeError("a bug with canary")


@asynccontextmanager
async def serving(path: Path, handle: Callable[[Request, Body], Any] = handler) -> AsyncIterator[asyncio.Event]:
    stopping, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(ControlServer(path, handle).run(ready.set, stopping))
        await ready.wait()
        yield stopping
        stopping.set()


async def ask(path: Path, command: str, arguments: dict[str, Any], body: io.BytesIO | None = None) -> Any:
    return await asyncio.to_thread(call, path, command, arguments, body, timeout=20.0)


async def test_a_request_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await ask(path, "echo", {"a": ["ü", 1, None]}) == {"a": ["ü", 1, None]}
    assert not path.exists()


async def test_a_body_is_streamed(tmp_path: Path) -> None:
    with (tmp_path / "message").open("w+b") as file:
        file.write(b"x" * 3_000_001)
        file.seek(1)
        async with serving(tmp_path / "s"):
            assert await ask(tmp_path / "s", "measure", {}, file) == 3_000_000  # type: ignore[arg-type]


async def test_a_long_answer_comes_in_pieces_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    write = asyncio.StreamWriter.write

    def counted(self: asyncio.StreamWriter, data: bytes) -> None:
        lengths.append(len(data))
        write(self, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", counted)

    async def much(request: Request, body: Body) -> Any:
        return ["x" * 1000] * 5000

    async with serving(tmp_path / "s", much):
        assert await ask(tmp_path / "s", "much", {}) == ["x" * 1000] * 5000
    assert max(lengths) <= 1 << 18 and sum(lengths) > 5_000_000


async def test_paths_longer_than_a_socket_address(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["directory-with-a-long-name"] * 8)
    folder.mkdir(parents=True)
    path = folder / "control.sock"
    assert len(str(path)) > 107
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await ask(path, "echo", {"a": 1}) == {"a": 1}


def test_short_paths_are_used_as_they_are(tmp_path: Path) -> None:
    with reachable_path(Path("/run/x/control.sock")) as name:
        assert name == "/run/x/control.sock"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("missing", "no such thing (why)"),
        ("wrong", "must be text"),
        ("bug", "internal error; the server's log says more"),
    ],
)
async def test_failures_are_told_in_words(command: str, words: str, tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        with pytest.raises(ControlRefused) as caught:
            await ask(tmp_path / "s", command, {})
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\xff\xff\xff\xff", "more than 1 MiB in one message of the admin socket"),
        (b"\0\0\0\2[]", "a request is an object"),
        (b'\0\0\0\x0f{"command": 1 }', "a request has a command, arguments and the size of its body"),
    ],
)
async def test_garbage_is_answered_and_costs_that_connection_only(octets: bytes, words: str, tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(octets)
        answer = await reader.readexactly(frame_length(await reader.readexactly(4), MAX_REQUEST))
        assert decode_answer(answer) == (False, words)
        writer.close()
        await writer.wait_closed()
        assert await ask(tmp_path / "s", "echo", {}) == {}


async def test_a_client_that_goes_away_is_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        for octets in (b"", b"\0\0", encode({"command": "measure", "body": 100}, MAX_REQUEST) + b"only this"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(octets)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


async def test_a_request_in_hand_is_finished_when_the_server_stops(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, body: Body) -> str:
        begun.set()
        await go_on.wait()
        return "done"

    async with serving(tmp_path / "s", slow) as stopping:
        answer = asyncio.ensure_future(ask(tmp_path / "s", "x", {}))
        await begun.wait()
        stopping.set()
        go_on.set()
        assert await answer == "done"


async def test_a_socket_file_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    with pytest.raises(ControlUnreachable, match="Connection refused"):
        call(tmp_path / "s", "echo", {})
    async with serving(tmp_path / "s"):
        assert await ask(tmp_path / "s", "echo", {}) == {}


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ControlUnreachable, match="No such file"):
        call(tmp_path / "s", "echo", {})


async def test_other_users_are_not_answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Both ends are ours here, so we pretend to be someone else after the fact; root is always allowed.
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)

    class Peer:
        family = socket.AF_UNIX

        def __init__(self, uid: int) -> None:
            self.uid = uid

        def get_extra_info(self, name: str) -> Peer:
            return self

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            return b"".join(number.to_bytes(4, "little") for number in (1, self.uid, 1))

    assert _peer_allowed(Peer(0))  # type: ignore[arg-type]
    assert _peer_allowed(Peer(real + 1))  # type: ignore[arg-type]
    assert not _peer_allowed(Peer(real + 2))  # type: ignore[arg-type]


def test_a_request_shows_no_arguments() -> None:
    assert repr(decode_request(b'{"command": "a", "arguments": {"password": "canary"}}')) == "Request('a', body=0)"
