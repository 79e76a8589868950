from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from mailserver.net.listener import ConnectionTable, Listener
from mailserver.net.settings import LimitsSettings


class Echo(asyncio.Protocol):
    """Says hello; `stubborn` ones do not end when asked."""

    def __init__(self, listener: Listener, stubborn: bool) -> None:
        self.listener, self.stubborn = listener, stubborn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.peer = self.listener.peername(self, transport)
        reason = self.listener.opened(self, self.peer[0])
        self.transport.write(f"{reason or 'hello'}\n".encode())
        if reason is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.listener.closed(self)

    def begin_shutdown(self) -> None:
        if not self.stubborn:
            self.transport.write(b"bye\n")
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


@contextlib.asynccontextmanager
async def _running(
    *addresses: str, stubborn: bool = False, drain: float = 5.0, inherited: tuple[socket.socket, ...] = (),
    cap: int = 30
) -> AsyncIterator[tuple[Listener, asyncio.Event, asyncio.Task[None]]]:
    limits = LimitsSettings(trusted=[], connections_per_network=[cap, 90, 270])
    table = ConnectionTable(limits)
    listener = Listener(
        "echo", addresses, lambda owner: Echo(owner, stubborn), table=table, drain=drain, inherited=inherited
    )
    stopping, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(listener.run(ready.set, stopping))
    await ready.wait()
    try:
        yield listener, stopping, task
    finally:
        stopping.set()
        await task
        assert table.total == 0


async def test_it_serves_at_every_address() -> None:
    async with _running("127.0.0.1:0", "[::1]:0") as (listener, _, _):
        assert [host for host, _ in listener.bound] == ["127.0.0.1", "::1"]
        for host, port in listener.bound:
            reader, writer = await asyncio.open_connection(host, port)
            assert await reader.readline() == b"hello\n"
            writer.close()
            await writer.wait_closed()


async def test_it_stops_in_two_phases() -> None:
    async with _running("127.0.0.1:0") as (listener, stopping, task):
        reader, writer = await asyncio.open_connection(*listener.bound[0])
        assert await reader.readline() == b"hello\n"
        stopping.set()
        assert await reader.read() == b"bye\n"
        await task
        with pytest.raises(OSError):
            await asyncio.open_connection(*listener.bound[0])
        writer.close()


async def test_what_does_not_end_is_aborted() -> None:
    async with _running("127.0.0.1:0", stubborn=True, drain=0.05) as (listener, stopping, task):
        reader, writer = await asyncio.open_connection(*listener.bound[0])
        assert await reader.readline() == b"hello\n"
        stopping.set()
        await task
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_those_beyond_the_cap_hear_why() -> None:
    async with _running("127.0.0.1:0", cap=2) as (listener, _, _):
        opened = [await asyncio.open_connection(*listener.bound[0]) for _ in range(3)]
        said = [await reader.readline() for reader, _ in opened]
        assert said == [b"hello\n", b"hello\n", b"too many connections from your network\n"]
        for _, writer in opened:
            writer.close()


async def test_what_passed_the_gate_while_stopping_is_given_back() -> None:
    async with _running("127.0.0.1:0") as (listener, stopping, task):
        gate, protocol = Echo(listener, False), Echo(listener, False)
        assert listener.opened(gate, "192.0.2.1") is None
        listener.gate_passed(gate, protocol, ("192.0.2.1", 4711))
        assert listener.peername(protocol, asyncio.Transport()) == ("192.0.2.1", 4711)
        assert listener.table.total == 1
        stopping.set()
        await task
        assert listener.opened(protocol, "192.0.2.1") == "the server is stopping"
        listener.closed(protocol)


async def test_behind_a_proxy_the_client_is_counted() -> None:
    async with _running("127.0.0.1:0", cap=1) as (listener, _, _):
        for number in (1, 2):
            gate, protocol = Echo(listener, False), Echo(listener, False)
            assert listener.opened(gate, "192.0.2.99") is None
            listener.gate_passed(gate, protocol, (f"192.0.2.{number}", 1))
            assert listener.opened(protocol, f"192.0.2.{number}") is None
            assert listener.table.total == number
        for connection in listener.connections:
            listener.closed(connection)


async def test_inherited_sockets_replace_the_addresses() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    async with _running("192.0.2.1:1", inherited=(sock,)) as (listener, _, _):
        assert listener.bound == [sock.getsockname()]


async def test_an_address_in_use_says_which() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = Listener(
            "echo", ["127.0.0.1:0", f"127.0.0.1:{port}"], lambda owner: Echo(owner, False),
            table=ConnectionTable(LimitsSettings()),
        )  # fmt: skip
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            await listener.run(lambda: None, asyncio.Event())
