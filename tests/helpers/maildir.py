"""A Maildir account with everything in it, made by the store itself; and what a client sees of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Rendered, Stored
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Target
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings

__all__ = ["ANNA", "Seen", "account_dir", "content", "fill", "open_store", "see", "uid_of"]

ANNA = AccountId("anna@example.test")


def open_store(data: Path) -> AbstractAsyncContextManager[MaildirStore]:
    """The store of a data directory."""
    return MaildirStore(data, StorageSettings(), "mx.example.test", SystemClock())


def uid_of(file: Path) -> int:
    """Of a file of the server's; 0 if its name has none. (In the order of their names they may be in any other order:
    microseconds stand there without leading zeros.)"""
    match = re.search(r",U=([0-9]+)", file.name)
    return int(match[1]) if match else 0


def account_dir(data: Path) -> Path:
    """Anna's mail."""
    return data / "example.test" / "anna"


@dataclass(frozen=True, slots=True)
class Seen:
    """A mailbox as a client sees it; per UID the flags, INTERNALDATE and the message."""

    uid_validity: int
    mailbox_id: str
    messages: dict[int, tuple[frozenset[str], int, bytes]]


def _message(subject: str, end: bytes = b"\r\n") -> bytes:
    lines = [b"From: <a@example.org>", b"Subject: " + subject.encode(), b"Message-ID: <%b@x>" % subject.encode(), b""]
    return end.join([*lines, b"text of " + subject.encode(), b""])


async def _put(store: MaildirStore, target: Target, messages: Sequence[bytes]) -> None:
    for data in messages:
        async with store.begin(len(data)) as content:
            await content.write(data)
            if target.into_new:
                (stored,) = await store.commit(content, [target])
            else:
                (stored,) = await store.commit_all(target.account, [(content, target)])
            assert isinstance(stored, Stored), stored


async def fill(data: Path) -> None:
    """Mail in new/ and cur/, bare LF, gaps between UIDs, flags, keywords with and without letters, children, rendered
    pieces; stopped cleanly."""
    async with open_store(data) as store:
        account = await store.open_account(ANNA)
        for name in ("Work", "Work/2026", "Grün.e&", "Empty"):
            await account.create(name)
        for at, name in enumerate(("INBOX", "Work", "Work/2026", "Grün.e&", "Empty")):
            kept = Target(account=ANNA, mailbox=name, into_new=False, date=1_700_000_000 + at)
            await _put(store, kept, [_message(f"{at}-{number}") for number in range(6)])
            await _put(store, kept, [_message(f"{at}-lf", b"\n")])
            async with account.open(name) as box:
                await box.set_flags([2, 3], FlagChange.ADD, frozenset({"\\Seen", "$Forwarded"}))
                await box.set_flags([3, 4], FlagChange.ADD, frozenset({"\\Flagged", "NonJunk"}))
                await box.set_flags([5], FlagChange.ADD, frozenset({"\\Answered", "Custom", "$Forwarded"}))
                if name == "Work":
                    for number in range(30):
                        await box.set_flags([2 + number % 3], FlagChange.ADD, frozenset({f"label{number}"}))
                await box.expunge([1, 7] if name != "Empty" else box.table.uids)
                await box.rendered(list(box.table.uids), list(Rendered))
        await _put(store, Target(account=ANNA), [_message(f"new-{number}") for number in range(3)])


async def see(data: Path) -> dict[str, Seen]:
    """Everything that a client sees, through a store of its own."""
    async with open_store(data) as store:
        account = await store.open_account(ANNA)
        out = {}
        for info in await account.list_mailboxes():
            if not info.selectable:
                continue
            async with account.open(info.name) as box:
                bodies: dict[int, bytes] = {}
                # A second time for what the first reading found out: that the index was wrong.
                while lacking := [uid for uid in box.table.uids if uid not in bodies]:
                    was = len(bodies), len(box.table)
                    async for batch in box.read_many(lacking):
                        bodies.update(batch)
                    assert (len(bodies), len(box.table)) != was, f"{info.name}: {lacking} cannot be read"
                out[info.name] = Seen(
                    box.uid_validity,
                    box.mailbox_id,
                    {
                        uid: (box.flag_table.sets[flags], date, bodies[uid])
                        for uid, flags, date in zip(box.table.uids, box.table.flags, box.table.dates, strict=True)
                    },
                )
        return out


def content(data: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below the account: its size and octets; to see that nothing was changed."""
    out = {}
    for folder, _, names in os.walk(account_dir(data)):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            out[str(path)] = (path.stat().st_mtime_ns, path.read_bytes())
    return out
