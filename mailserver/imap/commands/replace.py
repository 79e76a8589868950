"""REPLACE and UID REPLACE (RFC 8508): a message comes and another one goes, as one step."""

from __future__ import annotations

from contextlib import AsyncExitStack

from mailserver.imap.commands.append import Refused, receive, refusal
from mailserver.imap.replies import GONE, Completion, Responses, from_error, no, ok
from mailserver.imap.session import Session
from mailserver.model.errors import MailError
from mailserver.model.events import Appended
from mailserver.model.numset import NumSet
from mailserver.model.rights import Right
from mailserver.wire.imap.events import AppendStarted
from mailserver.wire.imap.responses import status_line

__all__ = ["replace"]


async def replace(session: Session, command: AppendStarted) -> Responses:
    """Take in the new message, and put it into its mailbox in the place of the old one."""
    old = _old_message(session, command)
    if isinstance(old, Completion):
        session.conversation.refuse_literal()
        yield old
        return
    view = session.view
    async with AsyncExitStack() as stack:
        try:
            ((content, target),) = await receive(session, command, stack, grows=False)
        except Refused as refused:
            yield refused.completion
            return
        told, octets = await session.tells_uids(command.mailbox), content.size
        try:
            stored = await session.services.store.replace(view.mailbox, old, content, target)
        except MailError as error:
            yield _refusal(session, command, old, error)
            return
    session.brought(target.account, target.mailbox, [stored.uid])
    session.services.hooks.emit(
        Appended(
            account=target.account, mailbox=target.mailbox, uids=NumSet.from_numbers([stored.uid]), octets=octets
        )
    )
    if told:
        # RFC 8508 §4.3: before the EXPUNGE.
        yield status_line(b"*", "OK", "Replacement is there", f"APPENDUID {stored.uid_validity} {stored.uid}")
    for piece in session.pending():
        yield piece
    # RFC 8508 §4.5, RFC 7162 §3.2.7
    yield ok("REPLACE completed", f"HIGHESTMODSEQ {view.mailbox.highest_modseq}" if session.qresync else "")


def _refusal(session: Session, command: AppendStarted, old: int, error: MailError) -> Completion:
    mailbox = session.view.mailbox
    if mailbox.deleted:
        # Not the destination is lacking.
        return from_error(error)
    return GONE if mailbox.table.find(old) < 0 else refusal(session, command, error)


def _old_message(session: Session, command: AppendStarted) -> int | Completion:
    """The UID of the message that is to go, or why it cannot."""
    view = session.view
    # RFC 8508 §4.1
    if (refused := view.refusal(Right.MARK_DELETED, Right.EXPUNGE)) is not None:
        return refused
    assert command.replaces is not None  # noqa: S101
    spans = view.spans(command.replaces, uid=command.uid)
    uids = view.uids_at(spans)
    if uids:
        return uids[0]
    return no("there is no message of this UID") if command.uid else GONE
