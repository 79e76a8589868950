"""Limits on how much one network or one account may send, and on those who guess addresses or passwords.

Strangers are counted by their network (IPv4 /32, /26, /21; IPv6 /64, /48, /32: the wider ones may have 3 and 9 times
as much), our own users by their account. Clients of `limits.trusted` are never counted and never refused. Every
refusal is temporary, so that honest mail comes a little later. Counts of networks are kept in memory and start anew
with the process, and with a reload of the configuration; those of accounts are kept on disk (`ledger.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.rate_limit.accounts import AccountPolicy
from mailserver.plugins.rate_limit.ledger import open_ledger
from mailserver.plugins.rate_limit.settings import RateLimitSettings

__all__ = ["RateLimitSettings", "plugin"]

_MINUTE, _DAY = 60.0, 86_400.0
_FACTORS = (1, 3, 9)


class _RateLimit:
    """The counters and the hooks."""

    def __init__(self, settings: RateLimitSettings, host: api.Host, accounts: AccountPolicy) -> None:
        self._settings = settings
        self._accounts = accounts
        self._failed_logins = host.failed_logins
        clock = host.clock
        self._messages = api.SlidingCounter(_MINUTE, clock)
        self._recipients = api.SlidingCounter(_MINUTE, clock)
        self._unknown = api.SlidingCounter(_DAY, clock)

    def connect(self, ctx: api.ConnectContext) -> api.Verdict | None:
        """Those who guessed too much are not listened to."""
        session = ctx.session
        if session.trusted:
            return None
        if session.service != "smtp" and self._failed_logins.blocked(session.peer):
            return _later(421, "4.7.0", "Too many failed logins from your network, try again later")
        if session.service == "smtp" and self._guesses(session.peer):
            return _later(421, "4.7.0", "Too many unknown recipients from your network, try again tomorrow")
        return None

    def mail(self, ctx: api.MailContext) -> api.Verdict | None:
        """One more message."""
        session = ctx.session
        if session.trusted:
            return None
        if session.account is None:
            if self._over(self._messages, session.peer, self._settings.messages_per_minute):
                return _later(450, "4.7.1", "Too many messages from your network, try again in a minute")
            return None
        return self._accounts.mail(session.account)

    def rcpt(self, ctx: api.RcptContext) -> api.Verdict | Awaitable[api.Verdict | None] | None:
        """One more recipient; unknown ones count against those who try out names."""
        session = ctx.session
        if session.trusted:
            return None
        if session.account is not None:
            return self._accounts.rcpt(session.account, ctx.recipient.address, local=ctx.local)
        if ctx.local and not ctx.known:
            for network in api.network_keys(session.peer):
                self._unknown.add(network)
            if self._guesses(session.peer):
                return _later(421, "4.7.0", "Too many unknown recipients, try again tomorrow")
        if self._over(self._recipients, session.peer, self._settings.recipients_per_minute):
            return _later(450, "4.7.1", "Too many recipients from your network, try again in a minute")
        return None

    def _guesses(self, peer: str) -> bool:
        limit = self._settings.unknown_recipients_per_day
        networks = api.network_keys(peer)
        return any(self._unknown.count(n) >= limit * factor for n, factor in zip(networks, _FACTORS, strict=False))

    def _over(self, counter: api.SlidingCounter, peer: str, limit: int) -> bool:
        """Count one more, unless a network has reached its limit already."""
        networks = api.network_keys(peer)
        if any(counter.count(n) >= limit * factor for n, factor in zip(networks, _FACTORS, strict=False)):
            return True
        for network in networks:
            counter.add(network)
        return False


def _later(code: int, status: str, text: str) -> api.Defer:
    return api.Defer(api.Reply(code, status, text), reason="rate limit", close=code == 421)


@asynccontextmanager
async def _setup(registry: api.Registry, settings: RateLimitSettings, host: api.Host) -> AsyncIterator[None]:
    async with open_ledger(host.data_dir / ".server" / "sending.db", host.clock) as ledger:
        limit = _RateLimit(settings, host, AccountPolicy(settings, ledger, host.emit))
        registry.on_connect(limit.connect)
        registry.on_mail(limit.mail)
        registry.on_rcpt(limit.rcpt)
        yield


plugin = api.Plugin(
    name="rate_limit", setup=_setup, settings=RateLimitSettings,
    doc="Limits per network and account: messages, recipients, unknown recipients, failed logins.",
)  # fmt: skip
