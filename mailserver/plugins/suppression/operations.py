"""What `mailserver suppression` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mailserver import api
from mailserver.plugins.suppression.database import Entry
from mailserver.plugins.suppression.ledger import Ledger
from mailserver.plugins.suppression.settings import SuppressionSettings

__all__ = ["Operations"]


class Operations:
    """The operations suppression.list, suppression.add, suppression.remove."""

    def __init__(self, host: api.Host, settings: SuppressionSettings, ledger: Ledger) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """Entries, of one account or of all."""
        account, now = self._account(arguments), self._host.clock.time()
        return [
            {**asdict(entry), "active": entry.active(now)}
            for entry in self._ledger.entries()
            if account is None or entry.account == account
        ]

    async def add(self, arguments: Mapping[str, Any]) -> Any:
        """Stop an account's mail to an address, for good."""
        account = self._account(arguments)
        if account is None:
            raise api.InvalidInput("name the account whose mail is to be stopped: --account ADDRESS")
        address = api.EmailAddress.parse(api.text_argument(arguments, "address"))
        entry = Entry(
            account=account, address=address.key, since=self._host.clock.time(), until=0.0,
            reason=api.text_argument(arguments, "reason")[:200], source="added",
        )  # fmt: skip
        await self._ledger.put(entry, self._settings.most)
        return asdict(entry)

    async def remove(self, arguments: Mapping[str, Any]) -> Any:
        """Lift entries: of an address or of "@domain", for one account or for all."""
        account, wanted = self._account(arguments), api.text_argument(arguments, "address")
        if wanted.startswith("@"):
            end = "@" + api.normalize_domain(wanted[1:])
            found = [entry for entry in self._ledger.entries() if entry.address.endswith(end)]
        else:
            key = api.EmailAddress.parse(wanted).key
            found = [entry for entry in self._ledger.entries() if entry.address == key]
        found = [entry for entry in found if account is None or entry.account == account]
        if not found:
            raise api.NotFound(f"{wanted} is not on the list; see it all: mailserver suppression list")
        await self._ledger.remove(found)
        return {"removed": [{"account": entry.account, "address": entry.address} for entry in found]}

    def _account(self, arguments: Mapping[str, Any]) -> api.AccountId | None:
        if not api.text_argument(arguments, "account"):
            return None
        return api.account_argument(self._host.directory, arguments).account
