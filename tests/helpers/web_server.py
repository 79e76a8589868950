"""A web server with TLS on a loopback port: what it answers is a function of the test's, and it keeps the requests."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import web

__all__ = ["WebServer"]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Server(web.Server):
    """Knows its connections until they are closed for good."""

    def __init__(self, serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(serve)
        self.open: dict[web.RequestHandler, asyncio.Transport] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self.open[handler] = transport
        super().connection_made(handler, transport)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        self.open.pop(handler, None)
        super().connection_lost(handler, exc)


class WebServer:
    """`async with WebServer(context) as server`; `server.answer` may be changed at any time."""

    def __init__(self, context: ssl.SSLContext, answer: Answer | None = None) -> None:
        self.context = context
        self.answer = answer or self._empty
        #: "METHOD host path" of each request.
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> WebServer:
        self._kept = server = _Server(self._serve)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()

        def connected() -> asyncio.Protocol:
            self.connections += 1
            return server()

        self._server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for transport in list(self._kept.open.values()):
            # TLS would wait for the goodbye of the other side, which may be a dead process.
            transport.abort()
        await asyncio.sleep(0)
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.host} {request.path}")
        return await self.answer(request)  # type: ignore[arg-type]

    async def _empty(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)
