"""What `mailserver alias` asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from mailserver import api
from mailserver.plugins.aliases.addresses import Addresses
from mailserver.plugins.aliases.asking import VALID, Asking
from mailserver.plugins.aliases.tokens import make_pending, make_unasked

__all__ = ["Operations"]

_log = structlog.get_logger()
_HOUR = 3600.0


class Operations:
    """The operations alias.add, alias.confirm, alias.list, alias.remove."""

    def __init__(self, host: api.Host, addresses: Addresses, asking: Asking) -> None:
        self._host = host
        self._addresses = addresses
        self._asking = asking

    async def add(self, arguments: Mapping[str, Any]) -> Any:
        """A new alias, or the question once more for one that is there. With `confirmed` nobody is asked."""
        address = api.EmailAddress.parse(api.text_argument(arguments, "address"))
        if self._host.directory.domain(address.domain) is None:
            raise api.NotPermitted(
                f"{address.domain} is not served; serve it first: mailserver domain add {address.domain}"
            )
        parsed = [api.EmailAddress.parse(target) for target in api.texts_argument(arguments, "targets")]
        targets = list({target.key: target for target in parsed}.values())
        confirmed = arguments.get("confirmed") is True
        known = self._host.directory.alias(address.key)
        if known is None:
            asked = await self._add(address, targets, confirmed=confirmed)
        else:
            asked = await self._again(known, targets, confirmed=confirmed)
        return {
            "address": str(address), "targets": [str(target) for target in targets],
            "asked": [{"target": str(one.target), "at": at, "until": one.until} for one, at in asked],
        }  # fmt: skip

    async def confirm(self, arguments: Mapping[str, Any]) -> Any:
        """The administrator knows that the owner of a target agrees."""
        address = api.EmailAddress.parse(api.text_argument(arguments, "address"))
        target = api.EmailAddress.parse(api.text_argument(arguments, "target"))
        await self._confirm(address, target)
        return {"address": str(address), "target": str(target)}

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """All of them, of the configuration too; `pending` are targets that get nothing yet."""
        return [
            {
                "address": str(alias.address), "targets": [str(target) for target in alias.targets],
                "from_config": alias.from_config,
                "pending": [
                    {"target": str(one.target), "until": one.until, "declined": one.declined}
                    for one in alias.pending if self._addresses.needs_consent(one.target)
                ],
            }
            for alias in self._host.directory.aliases()
        ]  # fmt: skip

    async def remove(self, arguments: Mapping[str, Any]) -> Any:
        """Forget an alias, and what was asked for it."""
        address = api.EmailAddress.parse(api.text_argument(arguments, "address"))
        await self._host.directory.remove_alias(address)
        return {"address": str(address)}

    async def ask_for_settings(self) -> None:
        """A catch-all or postmaster elsewhere that settings name: its owner is asked as for any alias, by one of a
        reserved name that stands between. What fails is tried again at the next start."""
        for domain in self._host.directory.domains():
            for local, written in ((api.CATCH_ALL, domain.catch_all), (api.ROLE_MAIL, domain.postmaster)):
                if not written:
                    continue
                address, target = api.EmailAddress(local, domain.name), api.EmailAddress.parse(written)
                if self._host.directory.domain(target.domain) is not None:
                    continue
                known = self._host.directory.alias(address.key)
                if known is not None and (known.from_config or any(one.key == target.key for one in known.targets)):
                    continue
                try:
                    if known is not None:
                        await self._host.directory.remove_alias(address)
                    await self._add(address, [target], confirmed=False)
                except api.MailError as error:
                    _log.warning("aliases.not_asked", alias=str(address), error=error.for_operator)

    async def _add(
        self, address: api.EmailAddress, targets: Sequence[api.EmailAddress], *, confirmed: bool
    ) -> list[tuple[api.Pending, float]]:
        due = {
            target: self._asking.when(target)
            for target in targets if not confirmed and self._addresses.needs_consent(target)
        }  # fmt: skip
        asked = [(make_pending(target, at + VALID), at) for target, at in due.items()]
        unasked = [make_unasked(target) for target in targets if not confirmed and target not in due]
        await self._host.directory.add_alias(address, targets, [one for one, _ in asked] + unasked)
        try:
            await self._ask(address, asked)
        except api.MailError:
            # An alias that nobody was asked for would wait for good.
            await self._host.directory.remove_alias(address)
            raise
        return asked

    async def _again(
        self, alias: api.Alias, targets: Sequence[api.EmailAddress], *, confirmed: bool
    ) -> list[tuple[api.Pending, float]]:
        if alias.from_config:
            raise api.AlreadyExists(f"the alias {alias.address} stands in the configuration file; change it there")
        known = {target.key for target in alias.targets}
        waiting = [one for target in targets if (one := alias.awaited(target)) is not None]
        waiting = [
            one for one in waiting if self._addresses.needs_consent(one.target) or (confirmed and not one.unasked)
        ]
        if not waiting or any(target.key not in known for target in targets):
            raise api.AlreadyExists(
                f"there is an alias {alias.address} already; for other targets remove it first:"
                f" mailserver alias remove {alias.address}"
            )
        declined = next((one.target for one in waiting if one.declined and not confirmed), None)
        if declined is not None:
            raise api.NotPermitted(
                f"{declined} said no; if that changed: mailserver alias confirm {alias.address} {declined}"
            )
        if confirmed:
            for one in waiting:
                await self._confirm(alias.address, one.target)
            return []
        now = self._host.clock.time()
        for one in waiting:
            wait = self._host.directory.asked(one.target) + _HOUR - now
            if wait > 0:
                raise api.LimitReached(
                    f"{one.target} was asked within the last hour, or will be soon; try again in"
                    f" {round(wait / 60) or 1} minutes"
                )
        # An answer to an earlier letter counts as long as that one does.
        asked = [
            (make_pending(one.target, now + VALID, one if one.until > now else None), now) for one in waiting
        ]
        await self._host.directory.ask_targets(alias.address, [one for one, _ in asked])
        await self._ask(alias.address, asked)
        return asked

    async def _ask(self, address: api.EmailAddress, asked: Sequence[tuple[api.Pending, float]]) -> None:
        for one, at in asked:
            await self._asking.ask(address, one, at)
            _log.info("aliases.asked", alias=str(address), target=str(one.target))

    async def _confirm(self, address: api.EmailAddress, target: api.EmailAddress) -> None:
        await self._host.directory.confirm_target(address, target)
        _log.info("aliases.confirmed", alias=str(address), target=str(target), by="administrator")
