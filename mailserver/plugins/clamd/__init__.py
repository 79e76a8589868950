"""Looks for viruses with ClamAV's daemon, clamd.

The mail of users who logged in is looked at as well: it is their machines that viruses live on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import structlog

from mailserver import api
from mailserver.plugins.clamd.settings import ClamdSettings

__all__ = ["plugin"]

_log = structlog.get_logger()
_PIECE = 256 << 10
_NEVER = api.Reply(550, "5.7.1", "The message contains malware")
_TOO_LARGE = api.Reply(552, "5.3.4", "The message is too large to be examined for malware")
_UNSEEN = api.Accept(
    findings=api.Findings((), (api.Reason("clamd", 0.0, "It was too large to be examined for malware"),))
)


class ScannerFailed(Exception):
    """The plugin's `on_error` says what follows."""


class _Clamd:
    """The hook."""

    def __init__(self, settings: ClamdSettings, host: api.Host) -> None:
        self._settings = settings
        self._endpoint = api.Endpoint.parse(settings.address)
        self._resolver = host.resolver
        self._turns = asyncio.Semaphore(settings.most_at_once)

    def message(self, ctx: api.MessageContext) -> Awaitable[api.Verdict | None] | None:
        """Before 250."""
        if ctx.session.service not in self._settings.services:
            return None
        return self._message(ctx)

    async def _message(self, ctx: api.MessageContext) -> api.Verdict | None:
        if ctx.content.size > self._settings.max_size:
            return self._unseen()
        try:
            async with self._turns:
                answer = await self._scan(ctx.content)
        except (OSError, api.LookupFailed) as error:
            answer = api.clamd.ScanAnswer("error", str(error) or type(error).__name__)
        if answer.kind == "clean":
            return None
        if answer.kind == "too_large":
            _log.warning("max_size is above StreamMaxLength of clamd", plugin="clamd", size=ctx.content.size)
            return self._unseen()
        if answer.kind == "found":
            return self._found(answer.text, ctx)
        _log.warning("clamd gave no answer", error=answer.text)
        raise ScannerFailed

    async def _scan(self, content: api.Content) -> api.clamd.ScanAnswer:
        """Raises OSError, LookupFailed.

        With the bare socket: clamd answers before the end when it has enough, and closes. What it said is still there
        to be read then, though nothing can be sent any more.
        """
        loop = asyncio.get_running_loop()
        with await self._endpoint.connect(self._resolver) as connection:
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(connection, api.clamd.INSTREAM)
                position = 0
                while piece := await content.read(position, _PIECE):
                    position += len(piece)
                    await loop.sock_sendall(connection, api.clamd.chunk(piece))
                await loop.sock_sendall(connection, api.clamd.END)
            line = b""
            while b"\0" not in line and len(line) < api.clamd.MAX_ANSWER:
                more = await loop.sock_recv(connection, api.clamd.MAX_ANSWER)
                if not more:
                    break
                line += more
            answer, end, _ = line.partition(b"\0")
            return api.clamd.scan_answer(answer if end else b"")

    def _found(self, name: str, ctx: api.MessageContext) -> api.Verdict:
        text = f"It contains malware: {name}"
        findings = api.Findings((), (api.Reason("clamd", 0.0, text, "Do not open what is attached to it"),))
        leaves = ctx.forwarded or ctx.session.account is not None
        if self._settings.found == "junk" and not leaves:
            return api.Quarantine(text, findings=findings)
        reply = api.Reply(_NEVER.code, _NEVER.status, f"{_NEVER.text}: {name}")
        return api.Reject(reply, reason=text, findings=findings)

    def _unseen(self) -> api.Verdict:
        if self._settings.too_large == "accept":
            return _UNSEEN
        return api.Reject(_TOO_LARGE, reason=_TOO_LARGE.text)


@asynccontextmanager
async def _setup(registry: api.Registry, settings: ClamdSettings, host: api.Host) -> AsyncIterator[None]:
    if settings.address:
        registry.on_message(_Clamd(settings, host).message)
    yield


plugin = api.Plugin(
    name="clamd", setup=_setup, settings=ClamdSettings, timeout=120.0, doc="Looks for viruses with ClamAV's clamd."
)
