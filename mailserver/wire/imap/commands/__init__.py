"""The commands of IMAP as values: arguments typed and decoded, nothing left to parse.

Mailbox names are Unicode, decoded from modified UTF-7 or UTF-8 as the connection's mode says; INBOX in any case is
`INBOX`, all else is as the client typed it: `model.mailbox.check_mailbox_name` decides whether it can be one. EXAMINE
and the UID forms are their commands with `read_only` or `uid` set. APPEND streams (see `events.py`).

To add a command: a class here, a parser in the module of `parse/` that has the same name, a row in `parse.PARSERS`.
"""

from __future__ import annotations

from mailserver.wire.imap.commands.acl import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from mailserver.wire.imap.commands.mailboxes import (
    Check,
    Close,
    Create,
    Delete,
    List,
    ListReturn,
    ListSelect,
    Lsub,
    QResync,
    Rename,
    Select,
    Status,
    StatusItem,
    Subscribe,
    Unselect,
    Unsubscribe,
)
from mailserver.wire.imap.commands.messages import Copy, Expunge, Fetch, MessageSet, Move, Store
from mailserver.wire.imap.commands.metadata import EVERY_DEPTH, GetMetadata, SetMetadata
from mailserver.wire.imap.commands.notify import MESSAGE_EVENTS, EventGroup, Notify, NotifyEvent, Watched
from mailserver.wire.imap.commands.search import (
    CancelUpdate,
    MultiSearch,
    Search,
    SearchReturn,
    Sort,
    SortCriterion,
    SortKey,
    Source,
    SourceKind,
    Thread,
    ThreadAlgorithm,
)
from mailserver.wire.imap.commands.session import (
    Authenticate,
    Capability,
    Comparator,
    Compress,
    Enable,
    GetJmapAccess,
    GetQuota,
    GetQuotaRoot,
    Id,
    Idle,
    Language,
    Login,
    Logout,
    Namespace,
    Noop,
    SetQuota,
    StartTls,
    Unauthenticate,
)
from mailserver.wire.imap.commands.urlauth import GenUrlAuth, ResetKey, UrlFetch

__all__ = [
    "EVERY_DEPTH", "MESSAGE_EVENTS", "Authenticate", "CancelUpdate", "Capability", "Check", "Close", "Comparator",
    "Compress", "Copy", "Create", "Delete", "DeleteAcl", "Enable", "EventGroup", "Expunge", "Fetch", "GenUrlAuth",
    "GetAcl", "GetJmapAccess", "GetMetadata", "GetQuota", "GetQuotaRoot", "Id", "Idle", "Language", "List",
    "ListReturn", "ListRights", "ListSelect", "Login", "Logout", "Lsub", "MessageSet", "Move", "MultiSearch",
    "MyRights", "Namespace", "Noop", "Notify", "NotifyEvent", "QResync", "Rename", "ResetKey", "Search", "SearchReturn",
    "Select", "SetAcl", "SetMetadata", "SetQuota", "Sort", "SortCriterion", "SortKey", "Source", "SourceKind",
    "StartTls", "Status", "StatusItem", "Store", "Subscribe", "Thread", "ThreadAlgorithm", "Unauthenticate", "Unselect",
    "Unsubscribe", "UrlFetch", "Watched",
]  # fmt: skip
