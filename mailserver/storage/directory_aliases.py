"""Changes of aliases and forwards: as values, and as statements for `accounts.db`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mailserver.model.address import EmailAddress
from mailserver.model.errors import NotFound
from mailserver.net.databases import Statement
from mailserver.ports.directory import Alias, Forward, Pending
from mailserver.storage.directory_db import INSERT_ALIAS, INSERT_FORWARD, INSERT_PENDING

__all__ = ["added", "asked", "confirmed", "forwarded", "forwarded_no_more", "questions", "removed"]


def added(alias: Alias) -> list[Statement]:
    """The statements for a new alias."""
    rows: list[Statement] = [
        (INSERT_ALIAS, (alias.address.key, position, str(alias.address), str(target)))
        for position, target in enumerate(alias.targets)
    ]
    return rows + questions(alias.address, alias.pending)


def questions(address: EmailAddress, pending: Collection[Pending]) -> list[Statement]:
    """The statements for what owners are asked."""
    return [
        (INSERT_PENDING, (address.key, str(one.target), one.request, one.secret, one.until)) for one in pending
    ]


def removed(address: EmailAddress) -> list[Statement]:
    """The statements that forget an alias."""
    return [("DELETE FROM alias WHERE id = ?", (address.key,)), ("DELETE FROM pending WHERE id = ?", (address.key,))]


def forwarded(forward: Forward) -> list[Statement]:
    """The statements for a forward in place of the one that there may be."""
    key = forward.address.key
    rows: list[Statement] = [
        (INSERT_FORWARD, (key, position, str(target), int(forward.keep)))
        for position, target in enumerate(forward.targets)
    ]
    return forwarded_no_more(key) + rows + questions(forward.address, forward.pending)


def forwarded_no_more(key: str) -> list[Statement]:
    """The statements that forget the forward of an account."""
    return [("DELETE FROM forward WHERE id = ?", (key,)), ("DELETE FROM pending WHERE id = ?", (key,))]


def asked(alias: Alias | None, address: EmailAddress, pending: Collection[Pending]) -> Alias:
    """The alias with these questions in place of those to the same targets. Raises NotFound."""
    found = _existing(alias, address)
    new = {_awaited(found, one.target): one for one in pending}
    return replace(found, pending=tuple(new.get(one, one) for one in found.pending))


def confirmed(
    alias: Alias | None, address: EmailAddress, target: EmailAddress
) -> tuple[Alias, list[Statement]]:
    """The alias with a target whose owner agreed. Raises NotFound."""
    found = _existing(alias, address)
    agreed = _awaited(found, target)
    statements: list[Statement] = [
        ("DELETE FROM pending WHERE id = ? AND target = ?", (address.key, str(agreed.target)))
    ]
    return replace(found, pending=tuple(one for one in found.pending if one is not agreed)), statements


def _existing(alias: Alias | None, address: EmailAddress) -> Alias:
    if alias is None:
        raise NotFound(f"there is no alias {address} in accounts.db, and no account that forwards")
    return alias


def _awaited(alias: Alias, target: EmailAddress) -> Pending:
    found = alias.awaited(target)
    if found is None:
        raise NotFound(f"{alias.address} waits for no answer of {target}")
    return found
