"""Targets that were ours, or trusted, and are so no more: their owners are strangers now, and never agreed.

Of each target that needs no consent it is written down that nobody was asked. So it gets nothing from the moment on
when its domain goes, by whatever way that does, and its owner is asked then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from mailserver import api
from mailserver.plugins.aliases.asking import VALID, Asking
from mailserver.plugins.aliases.tokens import make_pending, make_unasked

__all__ = ["Outsiders"]

_log = structlog.get_logger()


class Outsiders:
    """Of aliases and forwards in `accounts.db`; those of the configuration need no consent."""

    def __init__(self, host: api.Host, asking: Asking) -> None:
        self._host = host
        self._asking = asking

    async def note(self) -> None:
        """Write down what is not yet, of the targets that need no consent now."""
        directory = self._host.directory
        found: dict[api.EmailAddress, list[api.Pending]] = {}
        for entry in self._entries():
            known = {one.target.key for one in entry.pending}
            new = [one for one in entry.targets if one.key not in known and not directory.needs_consent(one)]
            if new:
                found[entry.address] = [make_unasked(target) for target in new]
        if not found:
            return
        try:
            await directory.doubt_targets(found)
        except api.MailError as error:
            _log.warning("aliases.not_noted", error=error.for_operator)

    async def ask(self, arguments: Mapping[str, Any]) -> Any:
        """The operation alias.ask_outsiders: ask whoever was not asked, and needs to be. What fails is tried again at
        the next start."""
        asked = []
        for entry in self._entries():
            for one in entry.pending:
                if one.unasked and self._host.directory.needs_consent(one.target):
                    try:
                        at = await self._ask(entry, one)
                    except api.MailError as error:
                        _log.warning("aliases.not_asked", alias=str(entry.address), error=error.for_operator)
                        continue
                    asked.append({"address": str(entry.address), "target": str(one.target), "at": at})
        return asked

    async def _ask(self, entry: api.Alias, unasked: api.Pending) -> float:
        """When. Raises MailError."""
        at = self._asking.when(unasked.target)
        question = make_pending(unasked.target, at + VALID)
        await self._host.directory.ask_targets(entry.address, [question])
        try:
            await self._asking.ask(entry.address, question, at)
        except api.MailError:
            await self._host.directory.ask_targets(entry.address, [unasked])
            raise
        _log.info("aliases.asked", alias=str(entry.address), target=str(unasked.target))
        return at

    def _entries(self) -> list[api.Alias]:
        """In domains that are served: the question comes from their postmaster."""
        directory = self._host.directory
        entries = [*directory.aliases(), *directory.forwards()]
        return [one for one in entries if not one.from_config and directory.domain(one.address.domain) is not None]
