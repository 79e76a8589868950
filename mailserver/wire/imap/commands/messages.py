"""The commands about messages, those that look for them aside."""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.model.flags import FlagChange
from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.sequence_set import PartialRange, SavedResult, SequenceSet

__all__ = ["Copy", "Expunge", "Fetch", "MessageSet", "Move", "Store"]

#: Sequence numbers, or UIDs in a command with `uid`; `$` always means UIDs that were saved.
MessageSet = SequenceSet | SavedResult


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
