"""Aliases and catch-all addresses, forwards of accounts, and the consent of those who get mail by them.

A target outside of our domains gets nothing until its owner agreed: he is asked by a letter, and agrees by answering it
(`asking.py`, `answers.py`). Only aliases that stand in the configuration file need no consent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.aliases.addresses import Addresses
from mailserver.plugins.aliases.answers import Answers
from mailserver.plugins.aliases.asking import Asking
from mailserver.plugins.aliases.forwards import Forwards
from mailserver.plugins.aliases.operations import Operations
from mailserver.plugins.aliases.outsiders import Outsiders
from mailserver.plugins.aliases.settings import AliasesSettings

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: AliasesSettings, host: api.Host) -> AsyncIterator[None]:
    addresses = Addresses(host.directory)
    asking = Asking(host)
    answers = Answers(host, addresses, asking)
    operations = Operations(host, addresses, asking)
    outsiders = Outsiders(host, asking)
    forwards = Forwards(host, addresses, asking)
    registry.resolve(answers.resolve)
    registry.resolve(addresses.resolve)
    registry.sender_allowed(addresses.sender_allowed)
    registry.on_message(answers.message)
    registry.operation("alias.add", operations.add)
    registry.operation("alias.confirm", operations.confirm)
    registry.operation("alias.list", operations.show)
    registry.operation("alias.remove", operations.remove)
    registry.operation("account.forward.set", forwards.set)
    registry.operation("account.forward.list", forwards.show)
    registry.operation("account.forward.remove", forwards.remove)
    registry.operation("alias.ask_outsiders", outsiders.ask)
    end_trust = host.directory.trust(settings.trusted_domains)
    try:
        await operations.ask_for_settings()
        await outsiders.note()
        await outsiders.ask({})
        yield
    finally:
        end_trust()


plugin = api.Plugin(
    name="aliases",
    setup=_setup,
    settings=AliasesSettings,
    doc="Addresses that stand for others, with several targets, catch-all addresses, and who must agree to be one.",
)
