"""The header fields that a message gets here (RFC 5321 §4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from mailserver.hooks.contexts import Session
from mailserver.model.envelope import Envelope
from mailserver.model.ids import QueueId
from mailserver.model.verdict import HeaderField

__all__ = ["Fields", "TraceFields"]


@dataclass(frozen=True, slots=True)
class Fields:
    """`transit` goes on top of a message that travels on, `delivery` on one that has arrived (with Return-Path)."""

    transit: bytes
    delivery: bytes


class TraceFields:
    """Makes them, under our host name."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def make(
        self, session: Session, queue_id: QueueId, envelope: Envelope, now: datetime, extra: tuple[HeaderField, ...]
    ) -> Fields:
        """`extra` are fields of the verdict; they stand above our Received, as RFC 8601 §4.1 wants it."""
        with_for = f"\r\n\tfor <{envelope.recipients[0].address}>" if len(envelope.recipients) == 1 else ""
        received = (
            f"Received: from {session.helo} ([{session.peer}])\r\n\tby {self._hostname} with "
            f"{protocol(session, envelope)} id {queue_id}{with_for};\r\n\t{format_datetime(now)}\r\n"
        )
        transit = ("".join(f"{field.name}: {field.value}\r\n" for field in extra) + received).encode()
        return Fields(transit, f"Return-Path: <{envelope.sender or ''}>\r\n".encode() + transit)


def protocol(session: Session, envelope: Envelope) -> str:
    """The name of the protocol for Received (RFC 3848, RFC 6531 §4.3)."""
    if not session.esmtp:
        return "SMTP"
    name = "UTF8SMTP" if envelope.smtputf8 else "ESMTP"
    return name + ("S" if session.tls else "") + ("A" if session.account is not None else "")
