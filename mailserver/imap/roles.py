"""What a session needs of the parts around it, and they of each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from mailserver.wire.imap.commands import NotifyEvent
from mailserver.wire.imap.events import Event
from mailserver.wire.imap.fetch_items import FetchItem

__all__ = ["Connection", "Conversation", "News"]


class Conversation(Protocol):
    """What a command that talks back and forth uses (APPEND, AUTHENTICATE)."""

    async def ask(self, line: bytes) -> bytes | None:
        """Send a SASL challenge (base64 is done here); the client's answer, None when it cancelled."""
        ...

    async def next_event(self) -> Event:
        """The next event of the wire; everything that was answered so far goes out first."""
        ...

    def accept_literal(self) -> None:
        """The message literal that waits may come; the continuation is sent if the client waits for one."""
        ...

    def refuse_literal(self) -> None:
        """The message literal that waits is not wanted; if it comes anyway, it is thrown away."""
        ...


class Connection(Protocol):
    """What a session tells its connection."""

    def logged_in(self) -> None:
        """From now on the limits of authenticated clients hold."""
        ...

    def logged_out(self) -> None:
        """They are those of a stranger again (RFC 8437)."""
        ...

    def enabled_utf8(self) -> None:
        """From now on names and strings are UTF-8 (RFC 6855)."""
        ...

    def end(self, text: str) -> None:
        """Say BYE with this text, after the command in hand, and close."""
        ...

    def wake(self) -> None:
        """There may be something to tell."""
        ...


class News(Protocol):
    """What NOTIFY asked for (`notify.py`). Of the selected mailbox: `events` are told, with `fetch` of new messages;
    `delayed`: EXPUNGE only with commands."""

    events: frozenset[NotifyEvent]
    fetch: tuple[FetchItem, ...]
    delayed: bool

    @property
    def waiting(self) -> bool:
        """Whether something of other mailboxes is to be told."""
        ...

    def news(self) -> AsyncIterator[bytes]:
        """That."""
        ...

    def end(self) -> None:
        """Tell nothing more."""
        ...
