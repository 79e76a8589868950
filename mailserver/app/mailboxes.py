"""`mailserver mailbox`: operations on an account's files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from mailserver.app.application import Application
from mailserver.hooks.arguments import account_named, text
from mailserver.model.errors import InvalidInput, NotFound
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import MailboxInfo
from mailserver.model.rights import ANYONE, RightsChange, parse_identifier, parse_rights, render_rights
from mailserver.storage.maildir.repair import maintenance

__all__ = ["mailbox_operations"]

_Operation = Callable[[Mapping[str, Any]], Awaitable[Any]]


def mailbox_operations(app: Application) -> dict[str, _Operation]:
    """Name → operation."""

    async def verify(arguments: Mapping[str, Any]) -> Any:
        accounts = [_account(app, arguments)] if arguments.get("address") else await app.store.accounts()
        findings = []
        for account in accounts:
            found = await maintenance.verify(app.store, account, full=arguments.get("full") is True)
            findings += [{"account": account, **finding.row()} for finding in found]
        return {"accounts": len(accounts), "findings": findings}

    async def rebuild(arguments: Mapping[str, Any]) -> Any:
        account = _account(app, arguments)
        app.logins.end_sessions(account, "the mailbox is being rebuilt")
        done = await maintenance.rebuild(app.store, account, full=arguments.get("full") is True)
        return {
            "account": account,
            "before": [finding.row() for finding in done.before],
            "after": [finding.row() for finding in done.after],
        }

    async def adopt(arguments: Mapping[str, Any]) -> Any:
        account = _account(app, arguments)
        app.logins.end_sessions(account, "the mailbox is being replaced")
        boxes = await maintenance.adopt(app.store, account)
        return {"account": account, "mailboxes": [asdict(box) for box in boxes]}

    async def export(arguments: Mapping[str, Any]) -> Any:
        account = _account(app, arguments)
        written = await maintenance.export(app.store, account)
        path = str(app.account_path(account))
        return {"account": account, "path": path, "mailboxes": [asdict(box) for box in written]}

    async def shares(arguments: Mapping[str, Any]) -> Any:
        account = _account(app, arguments)
        store = await app.store.open_account(account)
        found = [row for info in await store.list_mailboxes() for row in _shares(info)]
        return {"account": account, "shares": found}

    return {
        "mailbox.adopt": adopt,
        "mailbox.export": export,
        "mailbox.rebuild": rebuild,
        "mailbox.share": lambda arguments: _share(app, arguments),
        "mailbox.shares": shares,
        "mailbox.verify": verify,
    }


async def _share(app: Application, arguments: Mapping[str, Any]) -> Any:
    account = _account(app, arguments)
    identifier = parse_identifier(str(arguments.get("identifier", "")))
    letters = str(arguments.get("rights", ""))
    how = next((how for how in (RightsChange.ADD, RightsChange.REMOVE) if letters.startswith(how.value)), None)
    rights = parse_rights(letters[1:] if how is not None else letters)
    if rights and how is not RightsChange.REMOVE:
        _known(app, account, identifier)
    store = await app.store.open_account(account)
    name = (await store.find(str(arguments.get("mailbox", "")))).name
    await store.grant(name, identifier, how or RightsChange.REPLACE, rights)
    return {"account": account, "shares": _shares(await store.find(name))}


def _account(app: Application, arguments: Mapping[str, Any]) -> AccountId:
    return account_named(app.directory, text(arguments, "address")).account


def _known(app: Application, owner: AccountId, identifier: str) -> None:
    """Raises NotFound, InvalidInput: rights for this identifier would be nobody's, or are the owner's anyway."""
    bare = identifier.removeprefix("-")
    if bare == owner:
        raise InvalidInput("the owner of a mailbox always has all rights")
    if bare.startswith("@") and app.directory.domain(bare[1:]) is None:
        raise NotFound(f"there is no domain {bare[1:]}; see them all: mailserver domain list")
    if not bare.startswith("@") and bare != ANYONE and app.directory.account(bare) is None:
        raise NotFound(f"there is no account {bare}; see them all: mailserver account list")


def _shares(info: MailboxInfo) -> list[dict[str, str]]:
    return [
        {"mailbox": info.name, "identifier": identifier, "rights": render_rights(rights)}
        for identifier, rights in sorted(info.acl.items())
    ]
