"""The chain of ARC (RFC 8617): what those who passed a message on say about it as they got it.

By itself the chain proves who says so, and not that it is true. Of sealers whom the administrator trusts it is taken
for true, and may then stand in for what forwarding broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["ArcSettings", "plugin"]

_THREADS = 1


class ArcSettings(api.PluginSettings):
    """[plugins.arc]"""

    trusted_sealers: list[str] = Field(
        [],
        description='Domains of forwarders and mailing lists, such as ["lists.example.org"], whose word is taken for'
        " what SPF, DKIM and DMARC found when the message came to them: mail that they changed is then not held against"
        " its author. Empty: nobody's.",
    )

    @field_validator("trusted_sealers")
    @classmethod
    def _normalize(cls, domains: list[str]) -> list[str]:
        try:
            return [api.normalize_domain(domain) for domain in domains]
        except api.InvalidInput:
            raise ValueError('must be domains, such as "lists.example.org"') from None


class _Validator:
    def __init__(self, host: api.Host, workers: api.Workers, settings: ArcSettings) -> None:
        self._resolver = host.resolver
        self._clock = host.clock
        self._workers = workers
        self._trusted = frozenset(settings.trusted_sealers)

    def check(self, ctx: api.MessageContext) -> Awaitable[api.Verdict] | None:
        """The result of the chain, if there is any part of one."""
        sealed = ctx.session.from_stranger and any(map(ctx.message.signed_header.numbers, api.ARC_FIELDS))
        return self._check(ctx) if sealed else None

    async def _check(self, ctx: api.MessageContext) -> api.Verdict:
        message = ctx.message
        chain = api.ArcChain(message.signed_header, self._clock.time())
        digests = await api.check_signed_header(chain, self._resolver, self._workers, message.header_size)
        if digests:
            await api.digest_body(ctx.content, message, digests, self._workers)
        result = chain.result(digests, self._trusted)
        # RFC 8617 §10.2: which client it was that the chain passed, or did not pass, with.
        properties = (*result.properties, ("smtp.remote-ip", ctx.session.peer))
        return api.Accept(findings=api.Findings((replace(result, properties=properties),)))


@asynccontextmanager
async def setup(registry: api.Registry, settings: ArcSettings, host: api.Host) -> AsyncIterator[None]:
    """Nothing is asked of DNS before a sealed message comes."""
    workers = api.Workers(asyncio.get_running_loop(), "arc", _THREADS)
    try:
        registry.on_message(_Validator(host, workers, settings).check)
        yield
    finally:
        workers.close()


plugin = api.Plugin(
    name="arc", setup=setup, settings=ArcSettings, timeout=60.0,
    doc="Validates the chain of ARC on mail from other servers, and hears the sealers that you trust.",
)  # fmt: skip
