"""After a crash: every account whose index is ahead of its files is brought up to date, whether anyone asks for it or
not. Until that is done no stop is a clean one, since after a clean stop an index may be deleted.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import structlog

from mailserver.model.errors import MailError
from mailserver.model.ids import AccountId
from mailserver.net import files
from mailserver.storage.maildir.index import INDEX_FILE
from mailserver.storage.maildir.index_contents import connect_readonly
from mailserver.storage.maildir.layout import GONE, MAKING
from mailserver.storage.maildir.salvage import SALVAGED

if TYPE_CHECKING:
    from mailserver.storage.maildir.store import MaildirStore

__all__ = ["clear_accounts", "recover_accounts"]

_log = structlog.get_logger()
_AHEAD = "SELECT EXISTS (SELECT 1 FROM messages WHERE dirty) OR EXISTS (SELECT 1 FROM unlinks)"


async def recover_accounts(store: MaildirStore) -> bool:
    """Go through all accounts, one at a time; False if one of them could not be brought up to date."""
    run = store.context.reading.run
    finished = True
    for name in await store.accounts():
        path = store.path_of(name)
        if not await run(_is_ahead, path):
            continue
        try:
            await _recover(store, name)
        except MailError as error:
            _log.warning("storage.not_recovered", path=path, error=error.text)
            finished = False
    return finished


async def _recover(store: MaildirStore, name: AccountId) -> None:
    account = await store.open_account(name)
    for folder in list(account.folders.values()):
        # The first look unlinks what was removed, and notes what must be renamed.
        await account.refresh(folder)
    await store.context.finish(account.upkeep.flush())


def _is_ahead(account: str) -> bool:
    """Has the index something to do in the directories, or can it not be read?"""
    path = f"{account}/{INDEX_FILE}"
    if os.path.lexists(path + SALVAGED):
        return True
    if not os.path.lexists(path):
        return False
    try:
        db = connect_readonly(path, live=True)
        try:
            return bool(db.execute(_AHEAD).fetchone()[0])
        finally:
            db.close()
    except (sqlite3.Error, OSError):
        return True


def clear_accounts(root: str) -> None:
    """Remove what is left of accounts that were being made or removed. In a thread. Raises OSError."""
    for domain in os.scandir(root):
        if domain.name.startswith(".") or not domain.is_dir(follow_symlinks=False):
            continue
        for entry in list(os.scandir(domain.path)):
            if entry.name.startswith((MAKING, GONE)):
                files.remove_tree(entry.path)
