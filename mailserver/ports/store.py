"""The mail store: what SMTP and IMAP need of it, and nothing of how it keeps mail.

The memory store (`storage/memory.py`) is the specification in code; `tests/contracts/test_store.py` runs over every
implementation. Rules that hold for all:

* No sequence numbers: messages are named by UID. Sequence numbers live in `imap/selected.py`.
* A UID is assigned by commit only, after the content is durable. UIDs become visible in ascending order: a message is
  in `table`, STATUS and `uid_next` only when every lower UID is committed or abandoned. It gets its MODSEQ when it
  becomes visible, so that whoever knows a MODSEQ has seen everything below it.
* Names may come in any spelling of INBOX (`check_mailbox_name` is applied here); where a mailbox is looked up, a name
  that cannot be one is NotFound. A mailbox that was deleted raises NotFound from whatever would read or change it.
* When a coroutine here returns, what it promises survives `kill -9` (flags) or power loss (messages, UIDs, EXPUNGE,
  folders).
* Implementations do blocking work in their own bounded threads, whole operations per hop. `table` is only written on
  the event loop. Cancelling a coroutine that changes state does not undo it half way: the operation runs to its end.
* Where there is a `progress`, its `done` grows by what was done of these messages, if that takes long.
* Every method may raise `StorageFailure`; others are named.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from mailserver.model.changes import AccountChange
from mailserver.model.errors import MailError
from mailserver.model.flags import FlagChange, FlagTable
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import (
    INBOX,
    Changes,
    CopyResult,
    FlagResult,
    MailboxInfo,
    MailboxStatus,
    MessageTable,
    QuotaUsage,
    Rendered,
    SpecialUse,
    Stored,
)
from mailserver.model.metadata import Annotations
from mailserver.model.numset import NumSet
from mailserver.model.progress import Progress
from mailserver.model.rights import ALL_RIGHTS, Acl, Rights, RightsChange

__all__ = ["AccountStore", "Content", "MailStore", "Mailbox", "ReadableContent", "Target"]


class ReadableContent(Protocol):
    """The octets of a message, for whoever looks at it or sends it on."""

    @property
    def size(self) -> int:
        """Octets in all."""
        ...

    async def read(self, start: int, size: int) -> bytes:
        """A range of them. Raises StorageFailure."""
        ...

    def head(self) -> bytes:
        """The first octets, at most 1 MiB: the header block of any acceptable message."""
        ...


class Content(ReadableContent, Protocol):
    """A message on its way in. Up to 1 MiB stays in memory; above that it streams to a file of the same file system.

    Belongs to one task. It is an async context manager: leaving it without a commit throws the content away. It may be
    committed more than once (recipients whose header differs).
    """

    @property
    def size(self) -> int:
        """Octets written so far."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Append. Raises StorageFailure (disk full), LimitReached (128 MiB of memory in use by all and no file
        possible)."""
        ...

    async def __aenter__(self) -> Content: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place to put a message. `date` (INTERNALDATE, epoch seconds) None means now.

    `into_new` is True for delivery (Maildir's new/), False for APPEND. A `mailbox` that does not exist is NotFound,
    except for delivery (`into_new`), where it is made if `create` is set and the name can be made, and is INBOX
    otherwise; a delivery also loses the keywords for which the mailbox has no room rather than fail. `enforce_quota` is
    False for our own notices.
    """

    account: AccountId
    mailbox: str = INBOX
    flags: frozenset[str] = frozenset()
    date: int | None = None
    into_new: bool = True
    create: bool = False
    enforce_quota: bool = True


class MailStore(Protocol):
    """All accounts' mail."""

    def begin(self, size_hint: int = 0) -> Content:
        """Start taking in a message of about `size_hint` octets."""
        ...

    async def commit(
        self, content: Content, targets: Sequence[Target], header: bytes = b""
    ) -> list[Stored | MailError]:
        """Put one message, `header` first, at every target; the result for each, in order.

        One file, hard-linked for further targets on the same file system. Returns when all successes are durable;
        a failure of one target (OverQuota, NotFound, StorageFailure) does not touch the others.
        """
        ...

    async def commit_all(self, account: AccountId, items: Sequence[tuple[Content, Target]]) -> list[Stored]:
        """APPEND of one or more messages to one mailbox, all or none (RFC 3502).

        Raises NotFound (no such mailbox), OverQuota: then nothing was stored.
        """
        ...

    async def replace(self, mailbox: Mailbox, uid: int, content: Content, target: Target) -> Stored:
        """APPEND a message and expunge another one of an open mailbox (RFC 8508 §3.4). Sessions see both at once.

        A crash leaves the old message, both, or the new one, never neither. The new message may need as much room as
        the old one takes, if both are of one account.

        Raises NotFound (no such mailbox, or the message is gone), OverQuota, LimitReached: then nothing has changed.
        """
        ...

    async def open_account(self, account: AccountId) -> AccountStore:
        """The account's folders; made with INBOX and the special-use folders, all subscribed, when it has none yet."""
        ...

    async def existing_account(self, account: AccountId) -> AccountStore:
        """As `open_account`, and never makes anything. Raises NotFound: it has no mail here."""
        ...

    async def sharers(self, account: AccountId) -> Sequence[AccountId]:
        """The other accounts that have a mailbox whose ACL names this one in any way, sorted; perhaps some that have
        none any more. Opens no account."""
        ...

    async def shares(self, owner: AccountId, account: AccountId) -> bool:
        """Whether `owner` is among the `sharers` of this account. As quick for accounts that do not exist."""
        ...

    async def revoke(self, account: AccountId) -> None:
        """Take this account out of everybody's ACLs, empty its own, and take back the URLs that it authorized.

        Its address may become another person's.
        """
        ...

    async def remove_account(self, account: AccountId) -> None:
        """Delete all mail of an account, for good, and `revoke` it."""
        ...

    async def accounts(self) -> list[AccountId]:
        """Every account that has mail here."""
        ...


class AccountStore(Protocol):
    """One account's folders. Cheap to hold; keeps no file or database open by itself."""

    async def list_mailboxes(self) -> list[MailboxInfo]:
        """Every mailbox and every parent that only has children (`selectable` False), sorted by name, INBOX first."""
        ...

    async def find(self, name: str) -> MailboxInfo:
        """One mailbox, without opening it. Raises NotFound, also for a name that only has children."""
        ...

    async def subscriptions(self) -> frozenset[str]:
        """Subscribed names, also those of mailboxes that do not exist (RFC 9051 §6.3.7)."""
        ...

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """Durably set or clear a subscription. Raises LimitReached."""
        ...

    async def create(self, name: str, special_use: Collection[SpecialUse] = ()) -> MailboxInfo:
        """Make a mailbox (and missing parents); a name that only has children can be made one. It gets the ACL of the
        nearest mailbox above it (RFC 4314 §4). A special use moves to it from the mailbox that had it (RFC 6154 §3).

        Raises AlreadyExists, InvalidInput, LimitReached (name over 255 bytes on disk, too many folders).
        """
        ...

    async def set_special_use(self, name: str, uses: Collection[SpecialUse]) -> None:
        """Durably give a mailbox these special uses and no others; who had them loses them.

        Raises NotFound, NotPermitted (INBOX has none).
        """
        ...

    async def delete(self, name: str) -> None:
        """Delete a mailbox and its messages; with children it becomes a name that only has children.

        Subscriptions stay.

        Raises NotFound, NotPermitted (INBOX). Sessions that have it open see `Mailbox.deleted`.
        """
        ...

    async def rename(self, old: str, new: str) -> None:
        """Rename a mailbox with all beneath it, atomic over crashes; INBOX instead moves its messages into a new
        mailbox (RFC 9051 §6.3.6). Missing parents are made; messages, UIDs, UIDVALIDITY, MAILBOXID and special use go
        with a mailbox, and so do its ACL and sessions that have it open; subscriptions do not.

        Raises NotFound, AlreadyExists, InvalidInput, LimitReached.
        """
        ...

    async def grant(self, name: str, identifier: str, how: RightsChange, rights: Rights) -> None:
        """Durably change what a mailbox's ACL says of one identifier (see `model.rights`); sessions that have the
        mailbox open are woken. Raises NotFound, LimitReached."""
        ...

    async def annotations(self, name: str | None) -> Annotations:
        """The annotations of a mailbox, or (None) of the account itself (RFC 5464); see `model.metadata`.

        Raises NotFound.
        """
        ...

    async def annotate(self, name: str | None, changes: Mapping[str, bytes | None]) -> None:
        """Durably set annotations, or (None) take them away, all or none. They go with their mailbox when it is renamed
        or deleted; a RENAME of INBOX copies them (RFC 5464 §4.1).

        Raises NotFound, TooManyEntries, LimitReached.
        """
        ...

    async def url_key(self, name: str, *, make: bool = False) -> bytes | None:
        """The owner's access key of a mailbox (RFC 4467 §2.3), 32 octets; None when there is none and none is to be
        made. It goes with the mailbox. Raises NotFound."""
        ...

    async def reset_url_keys(self, name: str | None) -> None:
        """Durably take the access key of a mailbox away, or (None) all keys of the account. Raises NotFound."""
        ...

    async def status(self, name: str) -> MailboxStatus:
        """Raises NotFound. Notices what other programs wrote."""
        ...

    def open(self, name: str) -> AbstractAsyncContextManager[Mailbox]:
        """The live mailbox, one object for all sessions of this process, kept in memory while someone has it open.

        Raises NotFound on entering.
        """
        ...

    def observe(self, tell: Callable[[AccountChange], None]) -> Callable[[], None]:
        """Call `tell` with every change of the account, on the loop, at the moment when it is visible; returns the
        undo. `tell` only takes notes: it must neither raise nor take long. What another program does in a mailbox that
        nobody has open is noticed, and told, when somebody asks for that mailbox."""
        ...

    async def quota(self) -> QuotaUsage:
        """What the account uses and may use."""
        ...

    async def set_quota(self, octets_limit: int, messages_limit: int) -> None:
        """Durably set the limits; 0 means none."""
        ...


class Mailbox(Protocol):
    """A mailbox that at least one session has open. Plain attributes are read on the event loop and never await."""

    name: str
    mailbox_id: str
    uid_validity: int
    #: The lowest UID not yet visible.
    uid_next: int
    highest_modseq: int
    #: Replaced by EXPUNGE (see MessageTable). Sessions keep the table that their client knows.
    table: MessageTable
    flag_table: FlagTable
    #: True once the mailbox was deleted (or replaced by a new one of the same name).
    deleted: bool

    @property
    def acl(self) -> Acl:
        """Who may do what, without the owner; another object after every change."""
        ...

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` (on the loop, no arguments, soon after and at least once) when anything changed; returns the
        undo."""
        ...

    async def refresh(self) -> None:
        """Notice what other programs did to the mailbox; cheap when they did nothing."""
        ...

    def expunged_since(self, generation: int) -> NumSet | None:
        """UIDs removed since the table of that generation; None if that is too long ago (compare the tables then)."""
        ...

    def flags_changed_since(self, modseq: int) -> Sequence[int]:
        """UIDs, ascending, of visible messages whose modseq is greater; from memory, O(changes) for recent ones."""
        ...

    async def changes_since(self, modseq: int) -> Changes:
        """For QRESYNC: changed messages and tombstones after `modseq`."""
        ...

    async def rendered(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> Mapping[int, Sequence[bytes]]:
        """uid → the asked fields, in the order of `fields`; from the index, filled from the message where it lacks
        them.

        A message that has meanwhile gone is missing in the mapping; without `make` also one that the index lacks.
        """
        ...

    def pieces(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> AsyncGenerator[tuple[Sequence[int], Sequence[Sequence[bytes]]], None]:
        """The same batch by batch (of at most about 512 KiB for a field): UIDs, ascending, and for each field a column
        of what they have."""
        ...

    async def rendered_with(self, uids: Sequence[int], field: Rendered, octets: bytes) -> Mapping[int, bytes]:
        """As `rendered`, for one field, and only of messages where it has these octets (all, if there are none)."""
        ...

    async def rendered_between(
        self, uids: Sequence[int], field: Rendered, first: bytes, end: bytes
    ) -> Collection[int]:
        """Those of these messages where the field is not less than `first` and less than `end`, octet by octet."""
        ...

    def sift(self, sizes: Mapping[int, int], test: Callable[[int, bytes], bool]) -> AsyncIterator[list[int]]:
        """The messages (keys of `sizes`) that pass a test, batch by batch (a batch is one thread hop).

        Args:
            sizes: how many octets of each message, from its beginning, the test needs.
            test: gets the UID and at least those octets, as presented, in the thread that read them. Never raises.
        """
        ...

    def read_many(
        self, uids: Sequence[int], *, header_only: bool = False
    ) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """Whole messages (or their header blocks with the empty line) as presented (CRLF), in the order of `uids`,
        batch by batch (a batch is one thread hop: at most about 512 KiB or one message). Messages that are gone are
        left out."""
        ...

    async def read(self, uid: int, start: int = 0, size: int | None = None) -> bytes:
        """A range of a message as presented (CRLF). Raises NotFound when it is gone."""
        ...

    async def set_flags(
        self, uids: Sequence[int], how: FlagChange, flags: frozenset[str], *, unchanged_since: int | None = None,
        rights: Rights = ALL_RIGHTS, progress: Progress | None = None,
    ) -> FlagResult:  # fmt: skip
        """Change flags, of many messages slice by slice; a message whose flags do not change keeps its MODSEQ, and
        flags that `rights` do not cover stay as they are.

        Answered flags survive `kill -9`. Raises LimitReached (too many keywords in the mailbox).
        """
        ...

    async def expunge(self, uids: Sequence[int], *, progress: Progress | None = None) -> NumSet:
        """Remove these messages for good, whatever their flags; returns those that existed. Durable on return."""
        ...

    async def copy(
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS,
        progress: Progress | None = None,
    ) -> CopyResult:  # fmt: skip
        """Copy with flags and dates, in order, all or none, into a mailbox of this account or another.

        The copies are visible on return.

        Args:
            into: the account of this store whose mailbox `destination` is; None: the same.
            rights: on the destination; flags that they do not cover are left behind.

        Raises NotFound (destination), OverQuota (of the destination's account), LimitReached (its keywords).
        """
        ...

    async def move(
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS,
        progress: Progress | None = None,
    ) -> CopyResult:  # fmt: skip
        """As copy, then expunge here; a crash leaves each message in source or target, never in neither (RFC 9051
        §6.4.8). Within an account never OverQuota: it does not grow, and a full one must be able to fill its Trash."""
        ...
