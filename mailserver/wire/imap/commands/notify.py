"""NOTIFY as a value (RFC 5465)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailserver.wire.imap.fetch_items import FetchItem

__all__ = ["MESSAGE_EVENTS", "EventGroup", "Notify", "NotifyEvent", "Watched"]


class NotifyEvent(Enum):
    """RFC 5465 §5; the value is the name as BADEVENT lists it."""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


MESSAGE_EVENTS = frozenset({NotifyEvent.MESSAGE_NEW, NotifyEvent.MESSAGE_EXPUNGE, NotifyEvent.FLAG_CHANGE})


class Watched(Enum):
    """Which mailboxes a group of events is about (RFC 5465 §6)."""

    SELECTED = b"SELECTED"
    SELECTED_DELAYED = b"SELECTED-DELAYED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    MAILBOXES = b"MAILBOXES"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventGroup:
    """`names` are for SUBTREE and MAILBOXES; no `events` is NONE. `fetch` is what MessageNew wants to see, of the
    selected mailbox only."""

    watched: Watched
    names: tuple[str, ...] = ()
    events: frozenset[NotifyEvent] = frozenset()
    fetch: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """RFC 5465 §3.1. No `groups` is NOTIFY NONE. `unknown`: an event was asked for that we have not heard of."""

    status: bool = False
    groups: tuple[EventGroup, ...] = ()
    unknown: bool = False
