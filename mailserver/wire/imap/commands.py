"""The commands of IMAP as values: arguments typed and decoded, nothing left to parse.

Mailbox names are Unicode, decoded from modified UTF-7 or UTF-8 as the connection's mode says; INBOX in any case is
`INBOX`, all else is as the client typed it: `model.mailbox.check_mailbox_name` decides whether it can be one. EXAMINE
and the UID forms are their commands with `read_only` or `uid` set. SEARCH, SORT and THREAD are in `search_commands.py`;
APPEND streams (see `events.py`).

To add a command: a class here, a parser in one of the `parse_*` modules, a row in `parse.PARSERS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mailserver.model.flags import FlagChange
from mailserver.model.mailbox import SpecialUse
from mailserver.model.numset import NumSet
from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.search_commands import CancelUpdate, MultiSearch, Search, Sort, Thread
from mailserver.wire.imap.sequence_set import PartialRange, SavedResult, SequenceSet

__all__ = [
    "Authenticate", "CancelUpdate", "Capability", "Check", "Close", "Command", "Copy", "Create", "Delete", "Enable",
    "Expunge", "Fetch", "GetQuota", "GetQuotaRoot", "Id", "Idle", "List", "ListReturn", "ListSelect", "Login",
    "Logout", "Lsub", "MessageSet", "Move", "MultiSearch", "Namespace", "Noop", "QResync", "Rename", "Search", "Select",
    "SetQuota", "Sort", "StartTls", "Status", "StatusItem", "Store", "Subscribe", "Thread", "Unselect",
    "Unsubscribe",
]  # fmt: skip

#: Sequence numbers, or UIDs in a command with `uid`; `$` always means UIDs that were saved.
MessageSet = SequenceSet | SavedResult


# Any state


@dataclass(frozen=True, slots=True)
class Capability:
    """RFC 9051 §6.1.1."""


@dataclass(frozen=True, slots=True)
class Noop:
    """RFC 9051 §6.1.2."""


@dataclass(frozen=True, slots=True)
class Logout:
    """RFC 9051 §6.1.3."""


@dataclass(frozen=True, slots=True)
class Id:
    """RFC 2971 §3.1. `fields` is None for NIL; a value None is a NIL value. Field names are as typed."""

    fields: tuple[tuple[str, str | None], ...] | None


# Not authenticated


@dataclass(frozen=True, slots=True)
class StartTls:
    """RFC 9051 §6.2.1. Before answering OK, ask `ImapConnection.begin_tls`."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """RFC 9051 §6.2.2. `mechanism` in capitals; `initial_response` is None when absent, b"" for `=` (RFC 4959 §3)."""

    mechanism: str
    initial_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """RFC 9051 §6.2.3."""

    user: str
    password: str = field(repr=False)


# Authenticated


@dataclass(frozen=True, slots=True)
class Enable:
    """RFC 9051 §6.3.1. Names in capitals, as asked; unknown ones are ignored by the session."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QResync:
    """The parameter of SELECT (RFC 7162 §3.2.5): what the client knew. `*` does not occur in these sets.

    `match` pairs known sequence numbers with the UIDs they had, both ascending and of equal count.
    """

    uid_validity: int
    modseq: int
    known_uids: NumSet | None = None
    match: tuple[NumSet, NumSet] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """SELECT and, with `read_only`, EXAMINE (RFC 9051 §6.3.2–6.3.3)."""

    mailbox: str
    read_only: bool = False
    condstore: bool = False
    qresync: QResync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """RFC 9051 §6.3.4; `special_use` as RFC 6154 §3."""

    mailbox: str
    special_use: frozenset[SpecialUse] = frozenset()


@dataclass(frozen=True, slots=True)
class Delete:
    """RFC 9051 §6.3.5."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RFC 9051 §6.3.6."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """RFC 9051 §6.3.7."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """RFC 9051 §6.3.8."""

    mailbox: str


class StatusItem(Enum):
    """What STATUS can tell; the value is its name in the response."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"  # RFC 3501 only
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    DELETED = b"DELETED"
    SIZE = b"SIZE"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    #: RFC 7889 §3.1
    APPENDLIMIT = b"APPENDLIMIT"
    #: RFC 8474 §4.3
    MAILBOXID = b"MAILBOXID"
    #: RFC 9208 §4.1.4: what EXPUNGE would free.
    DELETED_STORAGE = b"DELETED-STORAGE"


class ListSelect(Enum):
    """LIST selection options (RFC 9051 §6.3.9.1, RFC 6154 §2)."""

    SUBSCRIBED = b"SUBSCRIBED"
    REMOTE = b"REMOTE"
    RECURSIVEMATCH = b"RECURSIVEMATCH"
    SPECIAL_USE = b"SPECIAL-USE"


class ListReturn(Enum):
    """LIST return options without arguments (RFC 9051 §6.3.9.2, RFC 6154 §2, RFC 8440 §3)."""

    SUBSCRIBED = b"SUBSCRIBED"
    CHILDREN = b"CHILDREN"
    SPECIAL_USE = b"SPECIAL-USE"
    MYRIGHTS = b"MYRIGHTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 9590.

    `status` holds the items of RETURN (STATUS (…)), empty without; `metadata` the entries of METADATA. `extended` is
    True when the command had selection options, RETURN, or a list of patterns: then the one empty pattern does not ask
    for the separator.
    """

    reference: str
    patterns: tuple[str, ...]
    select: frozenset[ListSelect] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Lsub:
    """RFC 3501 §6.3.9."""

    reference: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """RFC 9051 §6.3.10."""


@dataclass(frozen=True, slots=True)
class Status:
    """RFC 9051 §6.3.11. Each item once, in the order of asking."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """RFC 9051 §6.3.13. If it is granted: `ImapConnection.await_done`, then a continuation."""


@dataclass(frozen=True, slots=True)
class GetQuota:
    """RFC 9208 §4.1.1."""

    root: str


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    """RFC 9208 §4.1.2."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class SetQuota:
    """RFC 9208 §4.1.3. Resource names in capitals, limits as numbers (STORAGE counts units of 1,024 octets)."""

    root: str
    limits: tuple[tuple[str, int], ...]


# Selected


@dataclass(frozen=True, slots=True)
class Check:
    """RFC 3501 §6.4.1."""


@dataclass(frozen=True, slots=True)
class Close:
    """RFC 9051 §6.4.1."""


@dataclass(frozen=True, slots=True)
class Unselect:
    """RFC 9051 §6.4.2."""


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE, or UID EXPUNGE of `uids` (RFC 9051 §6.4.3, §6.4.9)."""

    uids: MessageSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """RFC 9051 §6.4.5. Each item once, in the order of asking; UID FETCH always has UID among them.

    With `changed_since` (RFC 7162 §3.1.4.1) MODSEQ is among the items; `vanished` (§3.2.6) only comes with both `uid`
    and `changed_since`. Of the messages that are named only those of `partial` are meant (RFC 9394 §3.3).
    """

    messages: MessageSet
    items: tuple[FetchItem, ...]
    uid: bool = False
    changed_since: int | None = None
    vanished: bool = False
    partial: PartialRange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """RFC 9051 §6.4.6; `unchanged_since` as RFC 7162 §3.1.3 (0 is allowed there)."""

    messages: MessageSet
    how: FlagChange
    flags: frozenset[str]
    silent: bool = False
    uid: bool = False
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """RFC 9051 §6.4.7."""

    messages: MessageSet
    mailbox: str
    uid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """RFC 9051 §6.4.8."""

    messages: MessageSet
    mailbox: str
    uid: bool = False


Command = (
    Capability | Noop | Logout | Id | StartTls | Authenticate | Login | Enable | Select | Create | Delete | Rename
    | Subscribe | Unsubscribe | List | Lsub | Namespace | Status | Idle | GetQuota | GetQuotaRoot | SetQuota | Check
    | Close | Unselect | Expunge | Search | Sort | Thread | CancelUpdate | MultiSearch | Fetch | Store | Copy | Move
)
