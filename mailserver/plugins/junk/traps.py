"""What is asked for about honeypots: which there are, and who has a bad name because of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from mailserver import api
from mailserver.plugins.junk.database import Mark
from mailserver.plugins.junk.honeypots import SERVER
from mailserver.plugins.junk.ledger import Ledger
from mailserver.plugins.junk.settings import JunkSettings

__all__ = ["Traps"]

_MOST_HONEYPOTS = 10_000


class Traps:
    """The operations honeypot.add, honeypot.remove, honeypot.list, honeypot.marks, honeypot.lift."""

    def __init__(self, host: api.Host, settings: JunkSettings, ledger: Ledger) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger

    async def add(self, arguments: Mapping[str, Any]) -> Any:
        """Who writes to this address from now on gets a bad name."""
        address = _address(arguments)
        if self._host.directory.domain(address.domain) is None:
            raise api.NotPermitted(f"{address.domain} is not served")
        if api.is_role(address) or self._host.directory.account(address.key) is not None:
            raise api.NotPermitted(f"{address} is used: it is an account, or everybody writes there in need")
        if len(self._ledger.honeypots()) >= _MOST_HONEYPOTS:
            raise api.LimitReached(f"there are {_MOST_HONEYPOTS} honeypots; remove some first")
        await self._ledger.set_honeypot(address.key, self._host.clock.time())
        return {"address": address.key}

    async def remove(self, arguments: Mapping[str, Any]) -> Any:
        """It is a usual address again. Marks that it made stay."""
        address = _address(arguments)
        if address.key in self._settings.honeypots:
            raise api.NotPermitted(f"{address} stands in the configuration file (plugins.junk.honeypots)")
        if address.key not in self._ledger.honeypots():
            raise api.NotFound(f"{address} is no honeypot; see them all: mailserver junk honeypots")
        await self._ledger.set_honeypot(address.key, None)
        return {"address": address.key}

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """All addresses that are honeypots; `since` is 0 for those of the configuration."""
        known = dict.fromkeys(self._settings.honeypots, 0.0)
        rows = {**self._ledger.honeypots(), **known}
        return [
            {"address": address, "since": since, "from_config": address in known}
            for address, since in sorted(rows.items())
        ]

    async def marks(self, arguments: Mapping[str, Any]) -> Any:
        """Who has a bad name, because of what, and until when; the newest first."""
        await self._ledger.refresh()
        return [self._row(mark) for mark in self._ledger.marks(self._host.clock.time() - self._settings.remember)]

    async def lift(self, arguments: Mapping[str, Any]) -> Any:
        """A server (its address) or a domain has no bad name any more, or nobody ("all")."""
        who = arguments.get("who", "")
        if not isinstance(who, str) or not who:
            raise ValueError("who must be an address of a server, a domain, or all")
        known = self._ledger.marks(self._host.clock.time() - self._settings.remember)
        keys = api.network_keys(who)[:1]
        lifted = [
            mark for mark in known
            if who == "all" or mark.value in keys or _shown(mark) == who.lower().rstrip(".")
        ]  # fmt: skip
        if not lifted and who != "all":
            raise api.NotFound(f"no honeypot knows {who}; see them all: mailserver junk marks")
        await self._ledger.lift_marks(lifted)
        return [self._row(mark) for mark in lifted]

    def _row(self, mark: Mark) -> dict[str, Any]:
        return {
            "who": _shown(mark), "kind": mark.kind, "at": mark.at, "until": mark.at + self._settings.remember,
            "hits": mark.hits, "honeypot": mark.trap, "sender": mark.sender,
        }  # fmt: skip


def _shown(mark: Mark) -> str:
    """A network key (`api.network_keys`) as people write it; a domain as it is."""
    if mark.kind != SERVER:
        return mark.value
    number, _, prefix = mark.value.partition("/")
    six = prefix.endswith("v6")
    length, bits = int(prefix.removesuffix("v6")), 128 if six else 32
    octets = (int(number, 16) << (bits - length)).to_bytes(bits // 8, "big")
    network = ipaddress.ip_network((octets, length))
    return str(network.network_address) if length == bits else str(network)


def _address(arguments: Mapping[str, Any]) -> api.EmailAddress:
    value = arguments.get("address", "")
    if not isinstance(value, str):
        raise ValueError("address must be text")
    return api.EmailAddress.parse(value)
