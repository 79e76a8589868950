"""`mailserver mailbox`: operations on an account's files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from mailserver.app.application import Application
from mailserver.model.address import EmailAddress
from mailserver.model.errors import NotFound
from mailserver.model.ids import AccountId
from mailserver.storage.maildir import maintenance

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
        await _set_quota(app, account)
        return {
            "account": account,
            "before": [finding.row() for finding in done.before],
            "after": [finding.row() for finding in done.after],
        }

    async def adopt(arguments: Mapping[str, Any]) -> Any:
        account = _account(app, arguments)
        app.logins.end_sessions(account, "the mailbox is being replaced")
        boxes = await maintenance.adopt(app.store, account)
        await _set_quota(app, account)
        return {"account": account, "mailboxes": [asdict(box) for box in boxes]}

    async def export(arguments: Mapping[str, Any]) -> Any:
        account = _account(app, arguments)
        written = await maintenance.export(app.store, account)
        path = str(app.account_path(account))
        return {"account": account, "path": path, "mailboxes": [asdict(box) for box in written]}

    return {
        "mailbox.adopt": adopt,
        "mailbox.export": export,
        "mailbox.rebuild": rebuild,
        "mailbox.verify": verify,
    }


def _account(app: Application, arguments: Mapping[str, Any]) -> AccountId:
    address = EmailAddress.parse(str(arguments.get("address", "")))
    account = app.directory.account(address.key)
    if account is None:
        raise NotFound(f"there is no account {address}; see them all: mailserver account list")
    return account.account


async def _set_quota(app: Application, account: AccountId) -> None:
    """A Maildir whose own file was lost does not know its limits; the directory of accounts does."""
    entry = app.directory.account(account)
    if entry is not None:
        store = await app.store.open_account(account)
        await store.set_quota(entry.octets_limit, entry.messages_limit)
