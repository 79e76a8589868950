"""What `mailserver account forward` asks for: accounts whose mail goes on to other addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from mailserver import api
from mailserver.plugins.aliases.addresses import Addresses
from mailserver.plugins.aliases.asking import VALID, Asking
from mailserver.plugins.aliases.tokens import make_pending, make_unasked

__all__ = ["Forwards"]

_log = structlog.get_logger()
_HOUR = 3600.0
_MOST_TARGETS = 20


class Forwards:
    """The operations account.forward.set, account.forward.list, account.forward.remove.

    The mail itself is forwarded by whoever resolves the account's address (`api.places_of`).
    """

    def __init__(self, host: api.Host, addresses: Addresses, asking: Asking) -> None:
        self._host = host
        self._addresses = addresses
        self._asking = asking

    async def set(self, arguments: Mapping[str, Any]) -> Any:
        """These targets in place of those before. Who agreed before need not agree again; with `confirmed` nobody has
        to. Without targets they stay, and nobody is asked once more. `keep` is None for what it was."""
        account = self._account(arguments)
        known = self._host.directory.forward(account.account)
        named = self._named(arguments)
        if not named and known is None:
            raise api.NotFound(f"the mail for {account.address} is not forwarded; name those who are to get it")
        targets = named or list(known.targets if known is not None else ())
        keep = arguments.get("keep")
        if keep is not None and not isinstance(keep, bool):
            raise ValueError("keep must be true, false or null")
        if keep is None:
            keep = known.keep if known is not None else True
        if not keep and self._is_circle(account, targets):
            raise api.InvalidInput(f"mail for {account.address} would go in a circle, and nobody would keep it")
        confirmed = arguments.get("confirmed") is True
        asked: list[tuple[api.Pending, float | None]] = []
        if not confirmed:
            asked = self._questions(known, named)
            asked += [(one, None) for one in (known.pending if known is not None and not named else ())]
        pending = [one for one, _ in asked]
        forward = api.Forward(address=account.address, targets=tuple(targets), keep=keep, pending=tuple(pending))
        await self._host.directory.set_forward(forward)
        try:
            for one, at in asked:
                if at is not None:
                    await self._asking.ask(account.address, one, at)
                    _log.info("aliases.asked", account=account.account, target=str(one.target))
        except api.MailError:
            # Whom nobody asked would be waited for in vain.
            await self._put_back(account, known)
            raise
        return {
            **self._row(forward),
            "asked": [
                {"target": str(one.target), "at": at, "until": one.until} for one, at in asked if at is not None
            ],
        }  # fmt: skip

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """That of one account, or all."""
        if api.text_argument(arguments, "account"):
            found = self._host.directory.forward(self._account(arguments).account)
            return [] if found is None else [self._row(found)]
        return [self._row(one) for one in self._host.directory.forwards()]

    async def remove(self, arguments: Mapping[str, Any]) -> Any:
        """All mail stays here from now on; with `targets` these alone get none any more."""
        account = self._account(arguments)
        known = self._host.directory.forward(account.account)
        gone = {api.EmailAddress.parse(one).key for one in api.texts_argument(arguments, "targets")}
        if known is None:
            raise api.NotFound(f"the mail for {account.address} is not forwarded")
        missing = gone - {target.key for target in known.targets}
        if missing:
            raise api.NotFound(f"the mail for {account.address} is not forwarded to {min(missing)}")
        left = tuple(target for target in known.targets if gone and target.key not in gone)
        if left:
            pending = tuple(one for one in known.pending if one.target.key not in gone)
            forward = api.Forward(address=known.address, targets=left, keep=known.keep, pending=pending)
            await self._host.directory.set_forward(forward)
        else:
            await self._host.directory.remove_forward(account.account)
        return {"account": account.account, "targets": [str(target) for target in left]}

    def _named(self, arguments: Mapping[str, Any]) -> list[api.EmailAddress]:
        """The targets, each once. Raises LimitReached, NotFound."""
        parsed = [api.EmailAddress.parse(one) for one in api.texts_argument(arguments, "targets")]
        targets = list({one.key: one for one in parsed}.values())
        if len(targets) > _MOST_TARGETS:
            raise api.LimitReached(f"an account forwards to {_MOST_TARGETS} addresses at most; use an alias for more")
        directory = self._host.directory
        for one in targets:
            if directory.domain(one.domain) is not None and api.find_address(directory, one) is None:
                raise api.NotFound(f"there is no account and no alias {one}")
        return targets

    def _questions(
        self, known: api.Forward | None, targets: Sequence[api.EmailAddress]
    ) -> list[tuple[api.Pending, float | None]]:
        """Who has to agree, and when he is asked; None: not now."""
        now = self._host.clock.time()
        found: list[tuple[api.Pending, float | None]] = []
        for target in targets:
            earlier = known.awaited(target) if known is not None else None
            if known is not None and earlier is None and any(one.key == target.key for one in known.targets):
                continue
            if not self._addresses.needs_consent(target):
                found.append((earlier or make_unasked(target), None))
                continue
            if earlier is not None and earlier.declined:
                raise api.NotPermitted(f"{target} said no; if that changed: use --confirmed")
            if earlier is not None and earlier.until > now and self._host.directory.asked(target) + _HOUR > now:
                found.append((earlier, None))
                continue
            at = self._asking.when(target)
            still = earlier if earlier is not None and earlier.until > now else None
            found.append((make_pending(target, at + VALID, still), at))
        return found

    def _is_circle(self, account: api.Account, targets: Sequence[api.EmailAddress]) -> bool:
        """Does it lead through forwards and aliases to nobody who keeps it?"""
        waiting, seen = list(targets), {account.address.key}
        while waiting:
            address = waiting.pop()
            if address.key in seen:
                continue
            seen.add(address.key)
            match = api.find_address(self._host.directory, address)
            if isinstance(match, api.AliasMatch):
                waiting += match.alias.targets
                continue
            if match is not None and match.account.account == account.account:
                continue
            forward = self._host.directory.forward(match.account.account) if match is not None else None
            if match is None or forward is None or forward.keep or not match.account.enabled:
                return False
            waiting += forward.targets
        return True

    async def _put_back(self, account: api.Account, known: api.Forward | None) -> None:
        if known is None:
            await self._host.directory.remove_forward(account.account)
        else:
            await self._host.directory.set_forward(known)

    def _account(self, arguments: Mapping[str, Any]) -> api.Account:
        return api.account_argument(self._host.directory, arguments)

    def _row(self, forward: api.Forward) -> dict[str, Any]:
        account = self._host.directory.account(forward.address.key)
        return {
            "account": forward.address.key, "targets": [str(target) for target in forward.targets],
            "keep": forward.keep, "rests": account is not None and not account.enabled,
            "pending": [
                {"target": str(one.target), "until": one.until, "declined": one.declined}
                for one in forward.pending if self._addresses.needs_consent(one.target)
            ],
        }  # fmt: skip
