"""ATTACKS J07: a REPLACE whose removal fails leaves everything as it was, and a clear NO (RFC 8508 §3.4)."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.mailbox import INBOX, Stored
from mailserver.ports.store import Target
from mailserver.storage.maildir import rows
from mailserver.storage.maildir.index import Unsure
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.store import MaildirStore
from tests.helpers.maildir import ANNA, account_dir, open_store


async def replace(store: MaildirStore, box: MaildirMailbox, mailbox: str) -> Stored:
    async with store.begin() as content:
        await content.write(b"Subject: new\r\n\r\nanother body\r\n")
        return await store.replace(box, 1, content, Target(account=ANNA, mailbox=mailbox, into_new=False))


@pytest.mark.parametrize("mailbox", [INBOX, "Drafts"])
@pytest.mark.parametrize("failure", [StorageFailure("no room"), OSError(errno.EIO, "broken"), Unsure("who knows")])
async def test_j07_the_removal_of_a_replace_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mailbox: str, failure: Exception
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise failure

    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        async with store.begin() as content:
            await content.write(b"Subject: old\r\n\r\nbody\r\n")
            await store.commit(content, [Target(account=ANNA)])
        before = account.octets, account.messages
        async with account.open(INBOX) as inbox, account.open(mailbox) as box:
            with monkeypatch.context() as patch:
                patch.setattr(rows, "remove_messages", fails)
                with pytest.raises(StorageFailure):
                    await replace(store, inbox, mailbox)
            uids = list(box.table.uids)
            if isinstance(failure, Unsure):
                # Then both are kept: better twice than in neither.
                assert len(uids) == (2 if box is inbox else 1) and account.messages == 2
                return
            assert uids == ([1] if box is inbox else []) and (account.octets, account.messages) == before
            assert len([path for path in account_dir(tmp_path).glob("**/cur/*") if path.is_file()]) <= 1
            stored = await replace(store, inbox, mailbox)
            assert list(box.table.uids) == [stored.uid] and account.messages == 1
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(mailbox) as box:
        assert list(box.table.uids) == [stored.uid]
