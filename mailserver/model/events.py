"""Facts for observers (metrics, logs, plugins). Frozen, and they grow only."""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.model.ids import AccountId, QueueId, SessionId

__all__ = [
    "Accepted", "Delivered", "Event", "LoginFailed", "LoginSucceeded", "Queued", "Refused", "SessionClosed",
    "SessionOpened",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """A connection was admitted. `service`: smtp, submission, imap, http."""

    session: SessionId
    service: str
    peer: str
    tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed:
    """A connection ended."""

    session: SessionId
    service: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message got its 250: every recipient has a durable home."""

    session: SessionId
    queue_id: QueueId
    service: str
    sender: str
    recipients: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A command or message was refused. `stage`: connect, helo, mail, rcpt, message; `code` is the reply's."""

    session: SessionId
    service: str
    stage: str
    peer: str
    sender: str
    recipient: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A message is in a mailbox."""

    queue_id: QueueId
    account: AccountId
    mailbox: str
    uid: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A message waits in the queue for these recipients."""

    queue_id: QueueId
    sender: str
    recipients: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSucceeded:
    """`mechanism` is the SASL name, or LOGIN for IMAP's command."""

    session: SessionId
    service: str
    account: AccountId
    peer: str
    mechanism: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFailed:
    """`user` is what the client claimed, made safe for a log; it may be no user of ours."""

    session: SessionId
    service: str
    user: str
    peer: str
    mechanism: str
    reason: str


Event = SessionOpened | SessionClosed | Accepted | Refused | Delivered | Queued | LoginSucceeded | LoginFailed
