"""DANE: certificates of mail servers pinned in DNS, where DNSSEC proves every step from the domain to them (RFC 7672).

Whether DNSSEC proved an answer is the resolver's to say (`[dns] servers`); here it is only asked. A question without an
answer is never a "no": whoever can silence DNS could switch TLS off then, so such a host is not used (RFC 7672 §2.1.2).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import AfterValidator, Field

from mailserver import api

__all__ = ["DaneSettings", "plugin"]

_MOST_RECORDS = 100
_TRUST_ANCHOR = 2


def _domain(text: str) -> str:
    try:
        return api.normalize_domain(text)
    except api.MailError as error:
        raise ValueError(error.text) from None


class DaneSettings(api.PluginSettings):
    """[plugins.dane]"""

    required: list[Annotated[str, AfterValidator(_domain)]] = Field(
        [],
        description="Domains that have told you that all their mail servers have DANE: mail for them waits while one"
        " has not.",
    )


class _Dane:
    """The hook."""

    def __init__(self, settings: DaneSettings, host: api.Host) -> None:
        self._required = frozenset(settings.required)
        self._resolver = host.resolver

    def tls_policy(self, ctx: api.TlsPolicyContext) -> Awaitable[api.TlsPolicy | None] | None:
        """What TLSA records ask for; None where DANE does not apply, which costs nothing."""
        return self._find(ctx) if _applies(ctx) or ctx.domain in self._required else None

    async def _find(self, ctx: api.TlsPolicyContext) -> api.TlsPolicy | None:
        try:
            found = await self._search(ctx) if _applies(ctx) else None
        except api.LookupFailed as error:
            words = f"its TLSA records cannot be looked up: {error.text}"
            return api.TlsPolicy(
                level=api.TlsLevel.DANE, source="dane", refused=words, failure="dnssec-invalid", detail=error.text
            )
        if found is None and ctx.domain in self._required:
            # RFC 7672 §6, and RFC 8460 §4.3.2.1 for the word.
            words = f"it has no TLSA records that DNSSEC proves, and plugins.dane.required names {ctx.domain}"
            return api.TlsPolicy(
                level=api.TlsLevel.DANE, source="dane", refused=words, failure="dane-required", detail=words
            )
        return found

    async def _search(self, ctx: api.TlsPolicyContext) -> api.TlsPolicy | None:
        """Raises LookupFailed."""
        for base in await self._bases(ctx.host.lower()):
            answer = await self._resolver.tlsa(f"_{ctx.port}._tcp.{base}")
            if answer.records and answer.authentic:
                return await self._policy(ctx, base, answer.records[:_MOST_RECORDS])
        return None

    async def _bases(self, host: str) -> list[str]:
        """Candidates for the TLSA base domain (RFC 7672 §2.2.2, §2.2.3).

        The addresses are asked for first: the DNS servers of some unsigned zones do not answer questions for TLSA.
        """
        addresses = await self._resolver.addresses(host)
        if addresses.authentic:
            return list(dict.fromkeys((addresses.name.lower(), host)))
        return [host] if addresses.secure_owner else []

    async def _policy(
        self, ctx: api.TlsPolicyContext, base: str, records: tuple[api.Tlsa, ...]
    ) -> api.TlsPolicy:
        text = api.written_tlsa(records)
        usable = api.usable_tlsa(records)
        if not usable:
            # RFC 7672 §2.2: whoever publishes records promises TLS, even if nobody can check the certificate.
            words = "none of its TLSA records can be used for mail"
            return api.TlsPolicy(
                level=api.TlsLevel.ENCRYPTED, source="dane", names=(base,), failure="tlsa-invalid", detail=words,
                text=text, minimum=True,
            )  # fmt: skip
        names = [base]
        if any(record.usage == _TRUST_ANCHOR for record in usable):
            names += await self._next_hops(ctx.domain)
        return api.TlsPolicy(
            level=api.TlsLevel.DANE, source="dane", names=tuple(dict.fromkeys(names)), tlsa=usable, text=text
        )

    async def _next_hops(self, domain: str) -> list[str]:
        """The domain, and where its CNAMEs lead: names for the certificate beside the host's (RFC 7672 §3.2.2)."""
        if domain.startswith("[") or api.parse_ip(domain) is not None:
            return []
        answer = await self._resolver.mx(domain)
        return [domain, answer.name.lower()] if answer.authentic else [domain]


def _applies(ctx: api.TlsPolicyContext) -> bool:
    """RFC 7672 §2.2: a host that is given by its address has no TLSA records."""
    return ctx.mx_authentic and not ctx.host.startswith("[") and api.parse_ip(ctx.host) is None


@asynccontextmanager
async def _setup(registry: api.Registry, settings: DaneSettings, host: api.Host) -> AsyncIterator[None]:
    registry.tls_policy(_Dane(settings, host).tls_policy)
    yield


plugin = api.Plugin(
    name="dane", setup=_setup, settings=DaneSettings, timeout=100.0,
    doc="Mail servers' certificates are those in DNS (TLSA), where DNSSEC proves them.",
)  # fmt: skip
