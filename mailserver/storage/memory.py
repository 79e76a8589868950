"""The mail store in memory: the specification of `ports/store.py` in code, and the store of fast tests.

Everything runs on the event loop, and between two `await`s nothing else does. The one place where a commit can be held
up is `pause`, awaited between the assignment of UIDs and the moment when they become visible; it stands for the time
that another store spends on fsync, so that tests can put two commits into any order.

It fails as a durable store does, with `OverQuota`, `NotFound` and `LimitReached`; `StorageFailure` comes only from
`pause`. Mailboxes are in `memory_mailbox.py`, an account's folders in `memory_account.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from types import TracebackType

from mailserver.model.errors import MailError, NotFound
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Stored
from mailserver.model.rights import NO_RIGHTS, RightsChange, identifiers_of
from mailserver.ports.clock import Clock, SystemClock
from mailserver.ports.store import Content, Mailbox, Target
from mailserver.storage.memory_account import MemoryAccount, Pause
from mailserver.storage.memory_mailbox import MemoryMailbox

__all__ = ["MemoryContent", "MemoryStore"]

HEAD_SIZE = 1 << 20


class MemoryContent:
    """A message on its way in."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def size(self) -> int:
        """Octets written so far."""
        return len(self._data)

    async def write(self, chunk: bytes) -> None:
        """Append."""
        self._data += chunk

    async def read(self, start: int, size: int) -> bytes:
        """A range of what was written."""
        return bytes(self._data[start : start + size])

    def head(self) -> bytes:
        """The first octets, at most 1 MiB."""
        return bytes(self._data[:HEAD_SIZE])

    async def __aenter__(self) -> MemoryContent:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._data = bytearray()


class MemoryStore:
    """All accounts' mail. Enter it to use it; on leaving, everything is gone."""

    def __init__(self, clock: Clock | None = None, *, pause: Pause | None = None) -> None:
        self._clock = clock or SystemClock()
        self._pause = pause
        self._accounts: dict[AccountId, MemoryAccount] = {}

    async def __aenter__(self) -> MemoryStore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for account in self._accounts.values():
            account.remove()
        self._accounts.clear()

    def begin(self, size_hint: int = 0) -> MemoryContent:
        """Start taking in a message."""
        return MemoryContent()

    async def commit(
        self, content: Content, targets: Sequence[Target], header: bytes = b""
    ) -> list[Stored | MailError]:
        """Put one message at every target; the result for each."""
        data = header + await content.read(0, content.size)
        results: list[Stored | MailError] = []
        for target in targets:
            try:
                results += await self._store(target.account, [(data, target)])
            except MailError as error:
                results.append(error)
        return results

    async def commit_all(self, account: AccountId, items: Sequence[tuple[Content, Target]]) -> list[Stored]:
        """Put several messages into one mailbox, all or none."""
        stored = await self._store(
            account, [(await content.read(0, content.size), target) for content, target in items]
        )
        if stored:
            await self._account(account).existing(stored[-1].mailbox).visible(stored[-1].uid)
        return stored

    async def replace(self, mailbox: Mailbox, uid: int, content: Content, target: Target) -> Stored:
        """Put a message in the place of another one."""
        assert isinstance(mailbox, MemoryMailbox)  # noqa: S101
        data = await content.read(0, content.size)
        at = mailbox.table.find(uid)
        if mailbox.deleted or at < 0:
            raise NotFound("the message is gone")
        account = self._account(target.account)
        if mailbox.owner is account:
            message = account.message(data, target, account.place(target))
            account.check_quota([message], mailbox.table.sizes[at])
            target = dataclasses.replace(target, enforce_quota=False)

        def instead() -> None:
            if not mailbox.remove([uid]):
                raise NotFound("the message is gone")

        (stored,) = await self._store(target.account, [(data, target)], instead)
        return stored

    async def _store(
        self, name: AccountId, items: Sequence[tuple[bytes, Target]], instead: Callable[[], None] | None = None
    ) -> list[Stored]:
        account = self._account(name)
        placed = []
        for data, target in items:
            mailbox = account.place(target)
            placed.append((mailbox, account.message(data, target, mailbox)))
        counted = [message for (_, message), (_, target) in zip(placed, items, strict=True) if target.enforce_quota]
        if counted:
            account.check_quota(counted)
        uids = await account.put(placed, instead)
        return [
            Stored(account=name, mailbox=mailbox.name, uid_validity=mailbox.uid_validity, uid=uid)
            for (mailbox, _), uid in zip(placed, uids, strict=True)
        ]

    def _account(self, name: AccountId) -> MemoryAccount:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = MemoryAccount(self._clock, self._pause)
        return account

    async def open_account(self, account: AccountId) -> MemoryAccount:
        """The account's folders; made when it has none yet."""
        return self._account(account)

    async def existing_account(self, account: AccountId) -> MemoryAccount:
        """The account's folders, if it has any."""
        found = self._accounts.get(account)
        if found is None:
            raise NotFound("there is no such account")
        return found

    async def sharers(self, account: AccountId) -> list[AccountId]:
        """The other accounts that have a mailbox whose ACL names this one."""
        return [
            name for name, other in sorted(self._accounts.items())
            if name != account and not other.shared_with().isdisjoint(identifiers_of(account))
        ]  # fmt: skip

    async def shares(self, owner: AccountId, account: AccountId) -> bool:
        """Whether `owner` is among the `sharers`."""
        return owner in await self.sharers(account)

    async def revoke(self, account: AccountId) -> None:
        """Take this account out of everybody's ACLs, empty its own, and take back its URLs."""
        for name, other in self._accounts.items():
            for mailbox in await other.list_mailboxes():
                for identifier in mailbox.acl:
                    if name == account or identifier.removeprefix("-") == account:
                        await other.grant(mailbox.name, identifier, RightsChange.REPLACE, NO_RIGHTS)
        if account in self._accounts:
            await self._accounts[account].reset_url_keys(None)

    async def remove_account(self, account: AccountId) -> None:
        """Delete all mail of an account."""
        await self.revoke(account)
        removed = self._accounts.pop(account, None)
        if removed is not None:
            removed.remove()

    async def accounts(self) -> list[AccountId]:
        """Every account that has mail here."""
        return sorted(self._accounts)
