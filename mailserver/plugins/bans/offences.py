"""What a network is banned for, and what it hears then."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

from mailserver import api
from mailserver.plugins.bans.ledger import Ledger
from mailserver.plugins.bans.networks import Ban, Network, narrow, wide
from mailserver.plugins.bans.places import Places
from mailserver.plugins.bans.settings import BanSettings

__all__ = ["Offences"]

_HOUR, _DAY = 3600.0, 86_400.0
LOGINS = "too many failed logins"
RECIPIENTS = "too many recipients that do not exist"
NONSENSE = "too many connections without sense"


class Offences:
    """The counters and the hooks."""

    def __init__(self, host: api.Host, settings: BanSettings, ledger: Ledger, places: Places) -> None:
        self._settings = settings
        self._ledger = ledger
        self._places = places
        self._trusted = [ipaddress.ip_network(one) for one in host.trusted]
        self._logins = api.SlidingCounter(_HOUR, host.clock)
        self._nonsense = api.SlidingCounter(_HOUR, host.clock)
        self._unknown = api.SlidingCounter(_DAY, host.clock)
        self._accepted = api.SlidingCounter(_DAY, host.clock)

    def connect(self, ctx: api.ConnectContext) -> api.Verdict | None:
        """Whoever is banned hears why, and until when."""
        return self._refusal(ctx.session)

    def mail(self, ctx: api.MailContext) -> api.Verdict | None:
        """On a connection that was there before the ban."""
        return self._refusal(ctx.session)

    def rcpt(self, ctx: api.RcptContext) -> api.Verdict | None:
        """Addresses that do not exist are counted."""
        session = ctx.session
        if not session.from_stranger or ctx.known or not ctx.local:
            return None
        network = narrow(session.peer)
        limit = self._settings.unknown_recipients
        if network is None or not limit:
            return None
        self._unknown.add(network)
        if self._unknown.count(network) - self._accepted.count(network) >= limit:
            self._ban(network, RECIPIENTS)
        return self._refusal(session)

    def event(self, event: api.Event) -> None:
        """What other parts of the server tell of clients."""
        if isinstance(event, api.Accepted):
            if event.service == "smtp":
                network = narrow(event.peer)
                # Only of those who name wrong addresses too: others need no entry.
                if network is not None and self._unknown.count(network):
                    self._accepted.add(network, len(event.recipients))
        elif isinstance(event, api.LoginFailed):
            network = narrow(event.peer)
            if event.wrong and network is not None and not self._places.known(network):
                self._count(self._logins, network, self._settings.failed_logins, LOGINS)
        elif isinstance(event, api.Misbehaved):
            network = narrow(event.peer)
            if network is not None:
                self._count(self._nonsense, network, self._settings.misbehaviour, NONSENSE)

    def _count(self, counter: api.SlidingCounter, network: Network, limit: int, reason: str) -> None:
        if not limit:
            return
        counter.add(network)
        if counter.count(network) >= limit:
            self._ban(network, reason)

    def _ban(self, network: Network, reason: str) -> None:
        if self._is_trusted(network) or self._places.live(str(network.network_address)):
            return
        self._ledger.ban(network, reason)
        site, most = wide(network), self._settings.neighbours
        many = most and self._ledger.neighbours(network) >= most
        if many and not self._is_trusted(site) and not self._places.any_within(site):
            self._ledger.ban(site, reason)

    def _is_trusted(self, network: Network) -> bool:
        return any(one.version == network.version and one.overlaps(network) for one in self._trusted)

    def _refusal(self, session: api.Session) -> api.Verdict | None:
        if session.trusted or session.account is not None:
            return None
        ban = self._ledger.find(session.peer)
        if ban is None or self._places.live(session.peer):
            return None
        return api.Defer(api.Reply(421, "4.7.0", words(ban)), reason=f"banned: {ban.reason}", close=True)


def words(ban: Ban) -> str:
    """What whoever is banned hears."""
    until = datetime.fromtimestamp(ban.until, UTC)
    return f"{ban.network} is not listened to until {until:%Y-%m-%d %H:%M} UTC: {ban.reason}"
