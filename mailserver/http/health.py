"""/metrics, /health/live and /health/ready: for monitoring, without any user's data."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from mailserver.http.server import Routes
from mailserver.net.networks import NetworkSet

__all__ = ["health_routes", "metrics_routes"]

#: What is wrong, in words; empty when all is well.
Check = Callable[[], list[str]]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health_routes(live: Check, ready: Check) -> Routes:
    """200 `ok`, or 503 with one line per fault. `live`: worth keeping alive; `ready`: takes mail now."""

    def answer(check: Check) -> Callable[[web.Request], object]:
        async def handle(request: web.Request) -> web.Response:
            faults = check()
            return web.Response(status=503 if faults else 200, text="\n".join(faults or ["ok"]) + "\n")

        return handle

    def add(router: web.UrlDispatcher) -> None:
        router.add_get("/health/live", answer(live))  # type: ignore[arg-type]
        router.add_get("/health/ready", answer(ready))  # type: ignore[arg-type]

    return add


def metrics_routes(render: Callable[[], bytes], allowed: list[str]) -> Routes:
    """Prometheus' text format, for clients in the networks `allowed` (by the socket's address: no header counts)."""
    networks = NetworkSet(allowed)

    async def handle(request: web.Request) -> web.Response:
        if (request.remote or "") not in networks:
            raise web.HTTPForbidden(text="metrics are for the networks in http.metrics_from\n")
        return web.Response(body=render(), headers={"Content-Type": _METRICS_TYPE})

    def add(router: web.UrlDispatcher) -> None:
        router.add_get("/metrics", handle)

    return add
