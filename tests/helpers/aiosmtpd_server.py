"""aiosmtpd as a server in a thread of its own, or in the loop of a test.

In the end no connection is open: the collector would find it during a later test, which would fail for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from tests.helpers.daemon import free_port

__all__ = ["aiosmtpd_here", "aiosmtpd_in_thread"]


async def _end(server: asyncio.AbstractServer | None, sessions: list[SMTP]) -> None:
    if server is not None:
        server.close()
    for session in sessions:
        for transport in (session.transport, session._original_transport):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
    # A turn each: the transport of TLS, what it stands on, and the handler.
    for _ in range(3):
        await asyncio.sleep(0)


class _Threaded(Controller):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, ready_timeout=60.0, **keywords)
        self._sessions: list[SMTP] = []

    def factory(self) -> SMTP:
        self._sessions.append(SMTP(self.handler, **self.SMTP_kwargs))
        return self._sessions[-1]

    def stop(self, no_assert: bool = False) -> None:
        asyncio.run_coroutine_threadsafe(_end(self.server, self._sessions), self.loop).result(60)
        super().stop(no_assert)


@contextlib.contextmanager
def aiosmtpd_in_thread(handler: Any, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Its port, at 127.0.0.1."""
    port = port or free_port()
    controller = _Threaded(handler, hostname="127.0.0.1", port=port, tls_context=tls)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@contextlib.asynccontextmanager
async def aiosmtpd_here(handler: Any, **settings: Any) -> AsyncIterator[int]:
    """Its port, at 127.0.0.1; it runs in this loop."""
    sessions: list[SMTP] = []

    def made() -> SMTP:
        sessions.append(SMTP(handler, loop=asyncio.get_running_loop(), **settings))
        return sessions[-1]

    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await _end(server, sessions)
