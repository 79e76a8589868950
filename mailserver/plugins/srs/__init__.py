"""Forwarded mail leaves with a return address of ours (SRS), so that the other side's SPF check finds nothing wrong.

`rewriting.py` makes return addresses and reads them back, `secrets.py` keeps the keys, `long_names.py` remembers
senders whose address leaves no room for that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.srs.long_names import LongNames
from mailserver.plugins.srs.rewriting import Rewriting, is_rewritten
from mailserver.plugins.srs.secrets import load_secrets

__all__ = ["plugin"]

_EXPIRED = api.Reply(550, "5.1.6", "This return address is not valid, or not valid any more")
_BOUNCES_ONLY = api.Reply(550, "5.7.1", "This address only takes reports about mail that was forwarded")


class _Srs:
    """The hooks."""

    def __init__(self, rewriting: Rewriting, directory: api.Directory) -> None:
        self._rewriting = rewriting
        self._directory = directory

    async def forward_sender(self, ctx: api.ForwardContext) -> api.EmailAddress | None:
        """Addresses of our own domains stay: it is us whom their SPF record names."""
        if self._directory.domain(ctx.sender.domain) is not None:
            return None
        return await self._rewriting.rewrite(ctx.sender, ctx.forwarder.domain)

    def rcpt(self, ctx: api.RcptContext) -> api.Verdict | None:
        """Whoever has seen a return address could otherwise write through us to who stands behind it."""
        if ctx.envelope.sender is not None and self._is_ours(ctx.recipient.address):
            return api.Reject(_BOUNCES_ONLY, reason="SRS: not a report")
        return None

    async def resolve(self, ctx: api.ResolveContext) -> api.Resolution | api.Unresolvable | None:
        """A report goes back to whom the forwarded message came from."""
        if not self._is_ours(ctx.address):
            return None
        sender = await self._rewriting.restore(ctx.address)
        if sender is None:
            return api.Unresolvable(reply=_EXPIRED)
        return api.Resolution(destinations=(api.Redirect(address=sender),))

    def _is_ours(self, address: api.EmailAddress) -> bool:
        return is_rewritten(address) and self._directory.domain(address.domain) is not None


@asynccontextmanager
async def _setup(registry: api.Registry, settings: api.PluginSettings, host: api.Host) -> AsyncIterator[None]:
    state = host.data_dir / ".server"
    keys = load_secrets(state / "srs.key", host.clock.time())
    async with LongNames(state / "srs.db", host.clock) as names:
        srs = _Srs(Rewriting(keys, names, host.clock), host.directory)
        registry.forward_sender(srs.forward_sender)
        registry.on_rcpt(srs.rcpt)
        registry.resolve(srs.resolve)
        yield


plugin = api.Plugin(name="srs", setup=_setup, doc="Gives forwarded mail a return address of ours, so that SPF holds.")
