"""Addresses of services that the operator names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailserver.net.endpoint import Endpoint
from tests.helpers.names import FakeResolver


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/run/x.sock", "unix:/run/x.sock"), ("unix:/run/x.sock", "unix:/run/x.sock"), ("local:/x", "unix:/x"),
        ("127.0.0.1:25", "127.0.0.1:25"), ("[::1]:25", "[::1]:25"), ("inet:25@localhost", "localhost:25"),
        ("inet6:25@[::1]", "[::1]:25"), ("inet:host.test:25", "host.test:25"), ("host.test:65535", "host.test:65535"),
    ],
)  # fmt: skip
def test_addresses(text: str, shown: str) -> None:
    assert str(Endpoint.parse(text)) == shown
    assert Endpoint.parse(shown) == Endpoint.parse(text)


@pytest.mark.parametrize(
    "text", ["", "x", "unix:", "unix:x", "local:../x", "host:", ":25", "host:0", "host:65536", "host:\u0663"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"unix|begins with"):
        Endpoint.parse(text)


async def test_a_name_is_asked_of_our_own_resolver() -> None:
    served = asyncio.Event()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.set()
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    resolver = FakeResolver()
    # The first one refuses, so the second is taken.
    resolver.has("addresses", "filter.test", "::1", "127.0.0.1")
    async with server:
        for host, questions in (("filter.test", 1), ("localhost", 1), ("127.0.0.1", 1)):
            served.clear()
            _, writer = await Endpoint(host=host, port=port).open(resolver)
            await asyncio.wait_for(served.wait(), 10)
            writer.close()
            assert len(resolver.asked) == questions
    with pytest.raises(OSError, match="no address"):
        await Endpoint(host="none.test", port=1).open(resolver)


async def test_a_path_that_is_too_long_for_a_socket_address(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / "s"
    path.parent.mkdir()
    with pytest.raises(FileNotFoundError):
        await Endpoint(path=str(path)).open(FakeResolver())
