from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mailserver.hooks.contexts import ConnectContext, Session
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.http.health import health_routes, metrics_routes
from mailserver.http.server import HttpService, Routes
from mailserver.http.settings import HttpSettings
from mailserver.model.reply import Reply
from mailserver.model.verdict import Defer, Verdict
from mailserver.net.listener import ConnectionTable
from mailserver.net.settings import LimitsSettings


@asynccontextmanager
async def serving(
    *routes: Routes, limits: LimitsSettings | None = None, hooks: Hooks | None = None
) -> AsyncIterator[tuple[HttpService, asyncio.Event]]:
    table = ConnectionTable(limits or LimitsSettings())
    service = HttpService(HttpSettings(listen=["127.0.0.1:0"]), routes, table, hooks=hooks)
    ready, stopping = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run(ready.set, stopping))
        await ready.wait()
        yield service, stopping
        stopping.set()


async def ask(service: HttpService, request: str | bytes) -> bytes:
    """Everything that the server says to these octets."""
    reader, writer = await asyncio.open_connection(*service.bound[0])
    try:
        octets = request.encode() if isinstance(request, str) else request
        writer.write(octets)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_health_says_ok_or_what_is_wrong() -> None:
    live: list[str] = []
    ready = ["starting or stopping", "the disk is full"]
    async with serving(health_routes(lambda: live, lambda: ready)) as (service, _):
        good = await ask(service, get("/health/live"))
        bad = await ask(service, get("/health/ready"))
    assert good.startswith(b"HTTP/1.1 200 OK\r\n")
    assert good.endswith(b"\r\n\r\nok\n")
    assert bad.startswith(b"HTTP/1.1 503 ")
    assert bad.endswith(b"\r\n\r\nstarting or stopping\nthe disk is full\n")


async def test_metrics_are_for_listed_networks_only_whatever_a_header_says() -> None:
    async with serving(metrics_routes(lambda: b"mailserver_x 1\n", ["127.0.0.0/8"])) as (service, _):
        assert (await ask(service, get("/metrics"))).endswith(b"\r\n\r\nmailserver_x 1\n")
    async with serving(metrics_routes(lambda: b"mailserver_x 1\n", ["192.0.2.0/24"])) as (service, _):
        refused = await ask(service, get("/metrics").replace("Host: x", "Host: x\r\nX-Forwarded-For: 192.0.2.1"))
    assert refused.startswith(b"HTTP/1.1 403 ")
    assert b"mailserver_x" not in refused


async def test_every_answer_has_safe_headers_and_a_bug_shows_nothing() -> None:
    async def broken(request: web.Request) -> web.Response:
        raise RuntimeError("canary")

    def routes(router: web.UrlDispatcher) -> None:
        router.add_get("/broken", broken)

    async with serving(routes) as (service, _):
        bug = await ask(service, get("/broken"))
        missing = await ask(service, get("/missing"))
    assert bug.startswith(b"HTTP/1.1 500 ")
    assert b"canary" not in bug
    assert missing.startswith(b"HTTP/1.1 404 ")
    for answer in (bug, missing):
        for header in (
            b"X-Content-Type-Options: nosniff",
            b"Content-Security-Policy: default-src 'none'",
            b"Cache-Control: no-store",
        ):
            assert header in answer


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /" + "a" * 10_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: " + "a" * 10_000 + "\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "X: y\r\n" * 100_000,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\0\1\2\3 nonsense\r\n\r\n",
    ],
)
async def test_m05_requests_are_bounded_and_not_smuggled(request_text: str) -> None:
    async with serving(health_routes(list, list)) as (service, _):
        answer = await ask(service, request_text)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.0 4")
        assert (await ask(service, get("/health/live"))).endswith(b"ok\n")


async def test_a_body_is_bounded() -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    def routes(router: web.UrlDispatcher) -> None:
        router.add_post("/", read)

    async with serving(routes) as (service, _):
        size = HttpSettings().max_body + 1
        head = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
        assert (await ask(service, head + b"x" * size)).startswith(b"HTTP/1.1 413 ")


async def test_connections_count_against_the_limits() -> None:
    limits = LimitsSettings(trusted=[], connections_per_network=[1, 9, 9])
    async with serving(health_routes(list, list), limits=limits) as (service, _):
        _, first = await asyncio.open_connection(*service.bound[0])
        # The first one is admitted when it is answered.
        first.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        while not service._listener.table.total:  # noqa: ASYNC110 - a turn of the loop, not a time
            await asyncio.sleep(0)
        assert await ask(service, get("/health/live")) == b""
        first.close()
        await first.wait_closed()
        while service._listener.table.total:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert (await ask(service, get("/health/live"))).endswith(b"ok\n")


async def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    async with serving(health_routes(list, list)) as (service, stopping):
        reader, writer = await asyncio.open_connection(*service.bound[0])
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok\n")
        stopping.set()
        assert await reader.read() == b""
        writer.close()


async def test_whom_the_hooks_refuse_hears_why() -> None:
    asked: list[Session] = []
    refusing = True

    def connect(ctx: ConnectContext) -> Verdict | None:
        asked.append(ctx.session)
        return Defer(Reply(421, "4.7.0", "127.0.0.1/32 is not listened to until noon")) if refusing else None

    registry = Registry(HookOptions(plugin="door"))
    registry.on_connect(connect)
    routes = health_routes(lambda: [], lambda: [])
    async with serving(routes, limits=LimitsSettings(trusted=[]), hooks=Hooks([registry])) as (service, _):
        request = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        refused = await ask(service, request)
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert refused.endswith(b"127.0.0.1/32 is not listened to until noon\n")
        refusing = False
        assert (await ask(service, request.replace("Host", "Connection: close\r\nHost"))).startswith(b"HTTP/1.1 200 ")
    assert [(facts.service, facts.peer, facts.trusted) for facts in asked] == [("http", "127.0.0.1", False)] * 2
