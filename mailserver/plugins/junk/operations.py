"""What `mailserver junk` and `mailserver sender` ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mailserver import api
from mailserver.plugins.junk.ledger import Ledger
from mailserver.plugins.junk.settings import JunkSettings
from mailserver.plugins.junk.wishes import ALLOW, BLOCK, Sender, Thresholds, parse_pattern

__all__ = ["Operations"]

_MOST_POINTS = 1000.0


class Operations:
    """The operations junk.set, junk.list, sender.allow, sender.block, sender.remove, sender.list."""

    def __init__(self, host: api.Host, settings: JunkSettings, ledger: Ledger) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger

    async def set(self, arguments: Mapping[str, Any]) -> Any:
        """An account's numbers: `junk`, `reject` (None: unchanged), or `default` for those of the settings."""
        account = self._account(arguments)
        own = Thresholds(None, None) if arguments.get("default") is True else self._ledger.thresholds(account)
        known = own or Thresholds(None, None)
        for name in ("junk", "reject"):
            points = arguments.get(name)
            if points is None:
                continue
            if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points <= _MOST_POINTS:
                raise api.InvalidInput(f"{name} is a number of points from 0 to {_MOST_POINTS:g}; 0 means never")
            known = replace(known, **{name: float(points)})
        row = self._row(account, known)
        if row["junk"] and row["reject"] and row["reject"] < row["junk"]:
            raise api.InvalidInput(
                f"mail would be refused from {row['reject']:g} points on, before it goes to Junk with {row['junk']:g};"
                " raise --reject too, or switch it off with --reject 0"
            )
        kept = None if known == Thresholds(None, None) else known
        await self._ledger.set_thresholds(account, self._host.clock.time(), kept)
        return row

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """The numbers of one account, or of all."""
        accounts = [self._account(arguments)] if arguments.get("account") else [
            account.account for account in self._host.directory.accounts()
        ]  # fmt: skip
        return [self._row(account, self._ledger.thresholds(account)) for account in accounts]

    async def allow(self, arguments: Mapping[str, Any]) -> Any:
        """Mail from an address or a domain is delivered, if it is proved to be from there."""
        return await self._put(arguments, ALLOW)

    async def block(self, arguments: Mapping[str, Any]) -> Any:
        """Mail from an address or a domain is refused."""
        return await self._put(arguments, BLOCK)

    async def remove(self, arguments: Mapping[str, Any]) -> Any:
        """Take an entry off an account's list."""
        account, pattern = self._account(arguments), parse_pattern(api.text_argument(arguments, "sender"))
        entry = self._ledger.senders(account).get(pattern)
        if entry is None:
            raise api.NotFound(
                f"{pattern.removeprefix('@')} is not on the list of {account}; see it: mailserver sender list {account}"
            )
        await self._ledger.remove_senders([entry])
        return _shown(entry)

    async def list_senders(self, arguments: Mapping[str, Any]) -> Any:
        """The list of one account, or of all."""
        accounts = [self._account(arguments)] if arguments.get("account") else self._ledger.accounts()
        return [
            _shown(entry)
            for account in accounts
            for entry in sorted(self._ledger.senders(account).values(), key=lambda entry: entry.pattern)
        ]

    async def _put(self, arguments: Mapping[str, Any], action: str) -> Any:
        account, pattern = self._account(arguments), parse_pattern(api.text_argument(arguments, "sender"))
        known = self._ledger.senders(account)
        if len(known) >= self._settings.most_senders and pattern not in known:
            raise api.LimitReached(
                f"the list of {account} is full: {len(known)} senders (plugins.junk.most_senders); remove some first"
            )
        entry = Sender(account=account, pattern=pattern, action=action, since=self._host.clock.time())
        await self._ledger.put_sender(entry)
        return _shown(entry)

    def _row(self, account: api.AccountId, own: Thresholds | None) -> dict[str, Any]:
        own = own or Thresholds(None, None)
        return {
            "account": account,
            "junk": self._settings.junk if own.junk is None else own.junk,
            "reject": self._settings.reject if own.reject is None else own.reject,
            "own": own != Thresholds(None, None),
        }

    def _account(self, arguments: Mapping[str, Any]) -> api.AccountId:
        return api.account_argument(self._host.directory, arguments).account


def _shown(entry: Sender) -> dict[str, Any]:
    return {
        "account": entry.account, "sender": entry.pattern.removeprefix("@"), "action": entry.action,
        "since": entry.since,
    }  # fmt: skip
