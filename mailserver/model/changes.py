"""What changed in an account, for those who observe it (`AccountStore.observe`). Names are the store's."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailserver.model.rights import Acl

__all__ = [
    "AccountChange", "MailboxCreated", "MailboxDeleted", "MailboxRenamed", "MessagesChanged", "MetadataChanged",
    "RightsChanged", "SubscriptionChanged",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class MessagesChanged:
    """Messages came or went, or their flags changed: STATUS says what it is now."""

    name: str


@dataclass(frozen=True, slots=True)
class MailboxCreated:
    """A mailbox was made; each missing parent gives one of its own."""

    name: str


@dataclass(frozen=True, slots=True)
class MailboxDeleted:
    """A mailbox is gone; its children are not. `acl`: who could see it."""

    name: str
    acl: Acl = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class MailboxRenamed:
    """A mailbox, and with it all beneath it, has another name."""

    old: str
    name: str


@dataclass(frozen=True, slots=True)
class SubscriptionChanged:
    """It is subscribed now, or not any more."""

    name: str


@dataclass(frozen=True, slots=True)
class RightsChanged:
    """Others may do other things with a mailbox."""

    name: str
    before: Acl = field(compare=False)
    after: Acl = field(compare=False)


@dataclass(frozen=True, slots=True)
class MetadataChanged:
    """Entries (`/shared/comment`) of a mailbox, or of the account where `name` is empty, were set or removed."""

    name: str
    entries: tuple[str, ...]


AccountChange = (
    MessagesChanged | MailboxCreated | MailboxDeleted | MailboxRenamed | SubscriptionChanged | RightsChanged
    | MetadataChanged
)
