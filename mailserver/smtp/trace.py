"""The header fields that a message gets here (RFC 5321 §4.4)."""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.hooks.contexts import Session
from mailserver.mime.auth_results import authentication_results
from mailserver.mime.trace import received, return_path
from mailserver.model.envelope import Envelope
from mailserver.model.findings import AuthResult
from mailserver.model.ids import QueueId
from mailserver.model.verdict import HeaderField

__all__ = ["Fields", "make_fields", "protocol"]


@dataclass(frozen=True, slots=True)
class Fields:
    """`transit` goes on top of a message that travels on, `delivery` on one that has arrived (with Return-Path)."""

    transit: bytes
    delivery: bytes


def make_fields(
    session: Session, queue_id: QueueId, envelope: Envelope, hostname: str, epoch: float,
    extra: tuple[HeaderField, ...], results: tuple[AuthResult, ...] = (), *, hide_users: bool = False,
) -> Fields:  # fmt: skip
    """`extra` are fields of the verdict, `results` become Authentication-Results on mail of other servers; they stand
    above our Received, as RFC 8601 §4.1 wants it.

    The only recipient is named in `for`; with several, none is (RFC 5321 §7.2). `hide_users`: where somebody who
    logged in is does not stand in his mail, nor does what his machine is called; RFC 5321 §4.4 has it as a SHOULD.
    """
    recipients = envelope.recipients
    hidden = hide_users and session.account is not None and not session.user
    transit = received(
        # What a program on this machine calls itself says nothing.
        helo="localhost" if session.user or hidden else session.helo,
        peer="" if hidden else session.peer,
        peer_name=next((r.value("policy.ptr") for r in results if r.method == "iprev"), ""),
        user=session.user,
        by=hostname,
        protocol=protocol(session, envelope),
        queue_id=queue_id,
        recipient=str(recipients[0].address) if len(recipients) == 1 else None,
        tls=f"{session.tls} {session.tls_cipher}".rstrip() if session.tls else "",
        epoch=epoch,
    )
    if session.service == "smtp":
        transit = authentication_results(hostname, results) + transit
    if extra:
        transit = "".join(f"{field.name}: {field.value}\r\n" for field in extra).encode("utf-8", "replace") + transit
    sender = envelope.sender
    return Fields(transit, return_path(None if sender is None else str(sender)) + transit)


def protocol(session: Session, envelope: Envelope) -> str:
    """The name of the protocol for Received (RFC 3848, RFC 6531 §4.3)."""
    if not session.esmtp:
        return "SMTP"
    name = "UTF8SMTP" if envelope.smtputf8 else "ESMTP"
    if session.user:
        return name
    return name + ("S" if session.tls else "") + ("A" if session.account is not None else "")
