"""The limits of an account: its entry in the directory says them, the store enforces them."""

from __future__ import annotations

from mailserver.model.errors import NotFound
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import QuotaUsage
from mailserver.ports.directory import Directory
from mailserver.ports.store import MailStore

__all__ = ["enforce_limits", "set_limits"]


async def set_limits(
    directory: Directory, store: MailStore, account: AccountId, octets: int | None, messages: int | None
) -> QuotaUsage:
    """Durably other limits, for every session and for the mail that comes from now on; what is used, and the limits.

    After a failure of the store the entry has the new limits already: giving them again makes both the same.

    Args:
        octets, messages: 0 takes the limit away, None leaves it as it is.

    Raises:
        NotFound: there is no such account.
        NotPermitted: its entry is for reading only.
        StorageFailure: one of the two could not be written.
    """
    await directory.set_limits(account, octets, messages)
    return await enforce_limits(directory, store, account)


async def enforce_limits(directory: Directory, store: MailStore, account: AccountId) -> QuotaUsage:
    """Let the store have the limits of the entry; what is used, and the limits. Raises NotFound, StorageFailure."""
    folders = await store.open_account(account)
    # Read right before `set_quota`, with nothing awaited: of changes at once, the directory's last is the store's last.
    entry = directory.account(account)
    if entry is None:
        raise NotFound(f"there is no account {account}")
    await folders.set_quota(entry.octets_limit, entry.messages_limit)
    return await folders.quota()
