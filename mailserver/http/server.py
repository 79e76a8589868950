"""The HTTP service: an aiohttp application behind a listener of ours, so that its connections are counted, bounded and
ended like those of every other service.

aiohttp does the protocol and its bounds; what is served is composed from route functions, so plugins add theirs as the
core does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import structlog
from aiohttp import web

from mailserver.hooks.contexts import ConnectContext, Session
from mailserver.hooks.dispatch import Hooks
from mailserver.http.settings import HttpSettings
from mailserver.model.ids import new_session_id
from mailserver.model.verdict import Defer, Reject
from mailserver.net.listener import ConnectionTable, Listener
from mailserver.net.systemd import Socket

__all__ = ["HttpService", "Routes"]

log = structlog.get_logger()

#: Adds routes to the application's router.
Routes = Callable[[web.UrlDispatcher], None]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

DRAIN = 5.0
MAX_LINE = 8190
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class HttpService:
    """Serves `routes` on the addresses of the settings, or on `inherited` sockets in their place."""

    name = "http"

    def __init__(
        self,
        settings: HttpSettings,
        routes: Sequence[Routes],
        table: ConnectionTable,
        inherited: Sequence[Socket] = (),
        hooks: Hooks | None = None,
    ) -> None:
        """With `hooks` a client is asked about as at the other services when it connects; who is refused gets 429."""
        self._settings = settings
        self._table = table
        self._hooks = hooks or Hooks()
        self._routes = routes
        self._runner: web.AppRunner | None = None
        self._listener = Listener(
            self.name, settings.listen, self._protocol, table=table, inherited=inherited, drain=DRAIN
        )

    @property
    def bound(self) -> list[tuple[str, int]]:
        """The real addresses, once it serves."""
        return self._listener.bound

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Serve until `stopping`; requests in hand get five seconds."""
        app = web.Application(client_max_size=self._settings.max_body, middlewares=[_guard, self._door])
        for add in self._routes:
            add(app.router)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=False,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            keepalive_timeout=30.0,
            shutdown_timeout=0.0,
        )
        await self._runner.setup()
        try:
            await self._listener.run(ready, stopping)
        finally:
            await self._runner.cleanup()

    @web.middleware
    async def _door(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """At each request: a connection may be older than what is known of its client now."""
        peer = request.remote or ""
        facts = Session(session=new_session_id(), service=self.name, peer=peer, trusted=self._table.trusted(peer))
        verdict = await self._hooks.connect(ConnectContext(session=facts))
        if isinstance(verdict, Reject | Defer):
            refused = web.Response(status=429, text=f"{verdict.reply.text}\n")
            refused.force_close()
            return refused
        return await handler(request)

    def _protocol(self, listener: Listener) -> asyncio.BaseProtocol:
        if self._runner is None or self._runner.server is None:
            raise RuntimeError("a connection before the application was set up")
        return _Connection(listener, self._runner.server())


class _Connection(asyncio.Protocol):
    """Stands between the listener and aiohttp's protocol; adds the counting and the orderly end, and nothing else."""

    def __init__(self, listener: Listener, inner: web.RequestHandler) -> None:
        self._listener = listener
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer, _ = self._listener.peername(self, transport)
        if self._listener.opened(self, peer) is not None:
            self._refused = True
            self._transport.abort()
            return
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.closed(self)
        if not self._refused:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            self._inner.data_received(data)

    def eof_received(self) -> None:
        if not self._refused:
            self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def begin_shutdown(self) -> None:
        """Answer the request in hand, then close."""
        self._inner.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Safe headers on every answer; a bug is told to the log, never to the client."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_HEADERS)
        raise
    except Exception:
        log.exception("http request failed", method=request.method, path=request.path)
        response = web.Response(status=500, text="internal error\n")
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
