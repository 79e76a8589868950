"""Addresses that nobody uses: whoever writes to one has harvested it, and has a bad name here for some days.

Their points alone never send mail to Junk: a spammer at a large provider must not be able to take all of that
provider's mail with him.
"""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from mailserver import api
from mailserver.plugins.junk.database import Hit
from mailserver.plugins.junk.ledger import Ledger
from mailserver.plugins.junk.settings import JunkSettings

__all__ = ["SERVER", "Honeypots"]

_log = structlog.get_logger()
CHECK = "honeypot"
SERVER, _DOMAIN = "server", "domain"
#: Points for a first hit, and from the third hit on.
_POINTS = {SERVER: (1.5, 3.0), _DOMAIN: (1.0, 1.5)}
_OFTEN = 3
_MOST_DOMAINS = 5
_LONGEST_SENDER = 320


class Honeypots:
    """The hooks `on_rcpt` and `on_message`."""

    def __init__(self, host: api.Host, settings: JunkSettings, ledger: Ledger) -> None:
        self._clock = host.clock
        self._configured = frozenset(settings.honeypots)
        self._remember = settings.remember
        self._ledger = ledger

    def rcpt(self, ctx: api.RcptContext) -> Awaitable[None] | None:
        """Whoever names a honeypot is remembered, whether that address takes mail or not."""
        if not ctx.session.from_stranger or not self._is_trap(ctx.recipient.address):
            return None
        return self._hit(ctx, ctx.recipient.address, _identities(ctx.session, ctx.findings))

    def _is_trap(self, address: api.EmailAddress) -> bool:
        return address.key in self._configured or address.key in self._ledger.honeypots()

    def message(self, ctx: api.MessageContext) -> Awaitable[api.Verdict | None] | None:
        """What is known of those who stand behind a message."""
        used = self._configured or self._ledger.honeypots()
        return self._known(ctx) if used and ctx.session.from_stranger else None

    async def _known(self, ctx: api.MessageContext) -> api.Verdict | None:
        identities = _identities(ctx.session, ctx.findings)
        trap = next((one.address for one in ctx.envelope.recipients if self._is_trap(one.address)), None)
        if trap is not None:
            # Signatures were not known at RCPT; who is marked already since then is not counted twice.
            since = self._clock.time() - 60
            await self._hit(ctx, trap, [key for key in identities if self._ledger.mark(*key, since) is None])
        since = self._clock.time() - self._remember
        reasons: dict[str, api.Reason] = {}
        for kind, value in identities:
            mark = self._ledger.mark(kind, value, since)
            if mark is not None and kind not in reasons:
                points = _POINTS[kind][mark.hits >= _OFTEN]
                who = f"The domain {value}" if kind == _DOMAIN else f"The server at {ctx.session.peer}"
                text = f"{who} also writes to addresses that nobody uses and only harvesters know"
                reasons[kind] = api.Reason(CHECK, points, text)
        return api.Accept(findings=api.Findings((), tuple(reasons.values()))) if reasons else None

    async def _hit(
        self, ctx: api.RcptContext | api.MessageContext, trap: api.EmailAddress, keys: list[tuple[str, str]]
    ) -> None:
        if not keys:
            return
        now, session, sender = self._clock.time(), ctx.session, str(ctx.envelope.sender or "")
        try:
            await self._ledger.hit(Hit(keys, now, trap.key, sender[:_LONGEST_SENDER]), now - self._remember)
        except api.StorageFailure as error:
            _log.warning("junk.not_noted", error=error.for_operator)
            return
        domains = [value for kind, value in keys if kind == _DOMAIN]
        _log.info("junk.honeypot", id=session.session, peer=session.peer, domains=domains)


def _identities(session: api.Session, findings: api.Findings) -> list[tuple[str, str]]:
    """Who can be held to account: the network, and domains that are proved."""
    found = [(SERVER, key) for key in api.network_keys(session.peer)[:1]]
    domains = [result.value("smtp.mailfrom").rpartition("@")[2] for result in _passed(findings, "spf")]
    domains += [result.value("header.d") for result in _passed(findings, "dkim")]
    names = dict.fromkeys(domain.lower().rstrip(".") for domain in domains if domain)
    return [*found, *((_DOMAIN, domain) for domain in list(names)[:_MOST_DOMAINS])]


def _passed(findings: api.Findings, method: str) -> list[api.AuthResult]:
    return [result for result in findings.of(method) if result.result == "pass"]
