"""What `mailserver alias`, `domain` and `account` ask of these addresses."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from mailserver import api
from mailserver.plugins.addresses.database import Temporary
from mailserver.plugins.addresses.ledger import Ledger
from mailserver.plugins.addresses.settings import AddressesSettings, Filing

__all__ = ["Operations"]

#: Without letters and digits that look alike; the first one is a letter. 50 bits: nobody finds one by trying.
_LETTERS, _ALPHABET = "abcdefghjkmnpqrstvwxyz", "abcdefghjkmnpqrstvwxyz23456789"
_LENGTH = 11
_DAY = 86_400.0
_MOST_BLOCKED = 10_000
_LONGEST_NOTE = 200


class Operations:
    """The operations that are registered under these names."""

    def __init__(self, host: api.Host, settings: AddressesSettings, ledger: Ledger) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger

    async def temporary(self, arguments: Mapping[str, Any]) -> Any:
        """A new address of an account for some days."""
        entry = self._account(arguments)
        days, note = arguments.get("days", 30), api.text_argument(arguments, "note")
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 3660:
            raise ValueError("days must be a number from 1 to 3660")
        if len(note) > _LONGEST_NOTE or not note.isprintable():
            raise ValueError(f"the note must be one line of at most {_LONGEST_NOTE} characters")
        if len(self._ledger.live(entry.account)) >= self._settings.most_temporary:
            raise api.LimitReached(
                f"{entry.account} has {self._settings.most_temporary} temporary addresses"
                " (plugins.addresses.most_temporary); drop some first: mailserver alias drop ADDRESS"
            )
        now = self._host.clock.time()
        address = self._unused(entry.address.domain)
        one = Temporary(address.key, entry.account, now, now + days * _DAY, note)
        await self._ledger.put_temporary(one)
        return _shown(one)

    async def temporaries(self, arguments: Mapping[str, Any]) -> Any:
        """Those of an account, or of all."""
        account = self._account(arguments).account if api.text_argument(arguments, "account") else None
        return [_shown(one) for one in self._ledger.live(account)]

    async def drop(self, arguments: Mapping[str, Any]) -> Any:
        """A temporary address takes no more mail."""
        address = self._address(arguments)
        one = self._ledger.temporary(address.key)
        if one is None or not self._ledger.is_live(one):
            raise api.NotFound(f"{address} is no temporary address; see them all: mailserver alias temporaries")
        await self._ledger.put_temporary(replace(one, until=0.0))
        return {"address": address.key}

    async def block(self, arguments: Mapping[str, Any]) -> Any:
        """Refuse all mail for one address, which a catch-all or a sub-address would take."""
        address = self._address(arguments)
        if self._host.directory.domain(address.domain) is None:
            raise api.NotPermitted(f"{address.domain} is not served")
        if api.is_role(address) or self._host.directory.account(address.key) is not None:
            raise api.NotPermitted(f"{address} must take mail: it is an account, or everybody writes there in need")
        if len(self._ledger.blocked()) >= _MOST_BLOCKED:
            raise api.LimitReached(f"{_MOST_BLOCKED} addresses are blocked; unblock some first")
        await self._ledger.set_blocked(address.key, self._host.clock.time())
        return {"address": address.key}

    async def unblock(self, arguments: Mapping[str, Any]) -> Any:
        """Take mail there again."""
        address = self._address(arguments)
        if address.key not in self._ledger.blocked():
            raise api.NotFound(f"{address} is not blocked; see them all: mailserver alias blocked")
        await self._ledger.set_blocked(address.key, None)
        return {"address": address.key}

    async def blocked(self, arguments: Mapping[str, Any]) -> Any:
        """All of them."""
        return [{"address": key, "since": since} for key, since in sorted(self._ledger.blocked().items())]

    async def alias_domain(self, arguments: Mapping[str, Any]) -> Any:
        """Serve a domain, if it is not served yet, and let every name in it be the same name in another one."""
        name = api.normalize_domain(api.text_argument(arguments, "domain"))
        target = api.normalize_domain(api.text_argument(arguments, "target"))
        known = self._ledger.domains()
        if self._host.directory.domain(target) is None:
            raise api.NotFound(f"{target} is not served; serve it first: mailserver domain add {target}")
        if name == target or target in known or name in known.values():
            raise api.NotPermitted("a domain that stands for another one cannot have one that stands for it")
        if self._host.directory.domain(name) is None:
            await self._host.directory.add_domain(api.Domain(name=name))
        await self._ledger.set_domain(name, target)
        return {"domain": name, "target": target}

    async def unalias_domain(self, arguments: Mapping[str, Any]) -> Any:
        """It is served for itself from now on."""
        name = api.normalize_domain(api.text_argument(arguments, "domain"))
        if name not in self._ledger.domains():
            raise api.NotFound(f"{name} does not stand for another domain")
        await self._ledger.set_domain(name, "")
        return {"domain": name}

    async def aliased_domains(self, arguments: Mapping[str, Any]) -> Any:
        """All of them."""
        return [{"domain": name, "target": target} for name, target in sorted(self._ledger.domains().items())]

    async def folders(self, arguments: Mapping[str, Any]) -> Any:
        """What an account wants with its sub-addresses; "default" for what the settings say, "" shows it."""
        account, filing = self._account(arguments).account, api.text_argument(arguments, "filing")
        if filing == "default" or filing in get_args(Filing):
            await self._ledger.set_filing(account, "" if filing == "default" else filing)
        elif filing:
            raise ValueError("say off, existing, create or default")
        own = self._ledger.filing(account)
        return {"account": account, "folders": own or self._settings.folders, "own": bool(own)}

    def _unused(self, domain: str) -> api.EmailAddress:
        while True:
            rest = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH - 1))
            address = api.EmailAddress(secrets.choice(_LETTERS) + rest, domain)
            if self._ledger.temporary(address.key) is None and not api.find_address(self._host.directory, address):
                return address

    def _address(self, arguments: Mapping[str, Any]) -> api.EmailAddress:
        return api.EmailAddress.parse(api.text_argument(arguments, "address"))

    def _account(self, arguments: Mapping[str, Any]) -> api.Account:
        return api.account_argument(self._host.directory, arguments)


def _shown(one: Temporary) -> dict[str, Any]:
    return {"address": one.key, "account": one.account, "since": one.since, "until": one.until, "note": one.note}
