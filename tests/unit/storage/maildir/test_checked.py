"""A file that cannot be read now is not a damaged one: nothing is written in its place."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.model.rights import RightsChange, parse_rights
from mailserver.net import files
from mailserver.storage.maildir.account import MaildirAccount
from tests.helpers.maildir import ANNA, open_store

BEN = AccountId("ben@example.test")


async def test_without_descriptors_annotations_and_keys_are_neither_told_nor_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await account.annotate(INBOX, {"/private/comment": b"kept"})
        key = await account.url_key(INBOX, make=True)

        def no_descriptor(path: str, limit: int) -> bytes:
            raise OSError(errno.EMFILE, "too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(files, "read_file", no_descriptor)
            for refused in (
                account.annotations(INBOX),
                account.annotate(INBOX, {"/shared/comment": b"new"}),
                account.url_key(INBOX),
                account.url_key("Sent", make=True),
                account.reset_url_keys("Sent"),
            ):
                with pytest.raises(StorageFailure):
                    await refused
        assert await account.annotations(INBOX) == {"/private/comment": b"kept"}
        assert await account.url_key(INBOX) == key


async def test_without_descriptors_an_account_is_not_loaded_and_keeps_its_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path) as store:
        account: MaildirAccount = await store.open_account(ANNA)
        await account.grant("Sent", BEN, RightsChange.REPLACE, parse_rights("lr"))
        await account.set_quota(1_000_000, 0)
    async with open_store(tmp_path) as store:
        await store.recovered()
        read = files.read_file

        def no_descriptor(path: str, limit: int) -> bytes:
            if "mailserver-" in path:
                raise OSError(errno.EMFILE, "too many open files")
            return read(path, limit)

        with monkeypatch.context() as patch:
            patch.setattr(files, "read_file", no_descriptor)
            with pytest.raises(StorageFailure):
                await store.open_account(ANNA)
        account = await store.open_account(ANNA)
        assert (await account.find("Sent")).acl == {BEN: parse_rights("lr")}
        assert (await account.quota()).octets_limit == 1_000_000
