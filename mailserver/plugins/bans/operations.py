"""What `mailserver ban` asks for."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from mailserver import api
from mailserver.plugins.bans.ledger import Ledger
from mailserver.plugins.bans.networks import Ban, parse_network

__all__ = ["Operations"]

_WEEK, _LONGEST = 7 * 86_400.0, 3660 * 86_400.0
_MOST_WORDS = 200


class Operations:
    """The operations ban.list, ban.add, ban.lift."""

    def __init__(self, host: api.Host, ledger: Ledger) -> None:
        self._clock = host.clock
        self._ledger = ledger
        self._trusted = [ipaddress.ip_network(one) for one in host.trusted]

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """All bans that hold now."""
        return [_row(ban) for ban in self._ledger.active()]

    async def add(self, arguments: Mapping[str, Any]) -> Any:
        """Ban `network` until `until` (epoch seconds; a week when there is none), for `reason`."""
        network, now = parse_network(api.text_argument(arguments, "network")), self._clock.time()
        for trusted in self._trusted:
            if trusted.version == network.version and trusted.overlaps(network):
                raise api.InvalidInput(f"{network} has addresses of {trusted}, which limits.trusted names")
        until = arguments.get("until")
        if until is None:
            until = now + _WEEK
        if isinstance(until, bool) or not isinstance(until, int | float) or not now < until <= now + _LONGEST:
            raise api.InvalidInput("a ban ends in the future, within ten years")
        reason = " ".join(api.text_argument(arguments, "reason").split())
        if len(reason) > _MOST_WORDS or not (reason.isascii() and reason.isprintable()):
            raise api.InvalidInput(f"the reason is told to clients: at most {_MOST_WORDS} plain letters (ASCII)")
        ban = Ban(network, now, float(until), reason or "banned by the operator", by="operator")
        self._ledger.put(ban)
        await self._ledger.flush()
        return _row(ban)

    async def lift(self, arguments: Mapping[str, Any]) -> Any:
        """End the bans of `network` and of all within it; "all" ends every one."""
        text = api.text_argument(arguments, "network")
        if text == "all":
            lifted = [ban for every in ("0.0.0.0/0", "::/0") for ban in self._ledger.lift(ipaddress.ip_network(every))]
        else:
            network = parse_network(text)
            lifted = self._ledger.lift(network)
            if not lifted:
                around = self._ledger.find(str(network.network_address))
                hint = f"; {around.network}, to which it belongs, is" if around is not None else ""
                raise api.NotFound(f"{network} is not banned{hint}; see them all: mailserver ban list")
        await self._ledger.flush()
        return [_row(ban) for ban in lifted]


def _row(ban: Ban) -> dict[str, Any]:
    return {
        "network": str(ban.network), "since": ban.since, "until": ban.until, "times": ban.times, "reason": ban.reason,
        "by": ban.by or "server",
    }  # fmt: skip
