"""COPY and MOVE (RFC 9051 §6.4.7, §6.4.8; COPYUID: §7.1; MESSAGELIMIT and SAVELIMIT: RFC 9738)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.imap.message_limit import completed, highest, message_limit, save_limit, too_many
from mailserver.imap.replies import GONE, Completion, Responses, ok, try_create
from mailserver.imap.session import Session
from mailserver.model.errors import NotFound
from mailserver.model.events import Moved
from mailserver.model.mailbox import CopyResult
from mailserver.model.numset import NumSet
from mailserver.model.rights import Right
from mailserver.wire.imap import commands
from mailserver.wire.imap.responses import status_line

__all__ = ["copy", "move"]


async def copy(session: Session, command: commands.Copy) -> Responses:
    """Copy messages to the end of another mailbox, all or none."""
    view = session.view
    spans = view.spans(command.messages, uid=command.uid)
    _, reached = highest(view, spans, save_limit(session))
    if reached is not None:
        yield too_many(reached)
        return
    told = await session.tells_uids(command.mailbox)
    result = await _transfer(session, command, spans, move=False)
    yield result if isinstance(result, Completion) else ok("COPY completed", _copyuid(result) if told else "")


async def move(session: Session, command: commands.Move) -> Responses:
    """Copy and remove as one; COPYUID comes before the EXPUNGEs (RFC 6851 §4.3)."""
    if (refused := session.view.refusal(Right.MARK_DELETED, Right.EXPUNGE)) is not None:
        yield refused
        return
    view = session.view
    named = view.spans(command.messages, uid=command.uid)
    spans, reached = highest(view, named, message_limit(session))
    told = await session.tells_uids(command.mailbox)
    result = await _transfer(session, command, spans, move=True)
    if isinstance(result, Completion):
        yield result
        return
    if result.source:
        yield status_line(b"*", "OK", "Moved", _copyuid(result) if told else "")
    for piece in session.pending():
        yield piece
    code = f"HIGHESTMODSEQ {view.mailbox.highest_modseq}" if result.source and session.qresync else ""
    for line in completed(ok("MOVE completed", code), reached):
        yield line


async def _transfer(
    session: Session, command: commands.Copy | commands.Move, spans: Sequence[range], *, move: bool
) -> CopyResult | Completion:
    """Do it, or say why not. Nothing is done when a named message is gone (RFC 9051 §6.4.7, RFC 2180 §4.4.1)."""
    view = session.view
    uids = view.uids_at(spans)
    if view.lacks(command, spans, len(uids)):
        return GONE
    try:
        access = await session.access(command.mailbox, Right.INSERT)
        transfer = view.mailbox.move if move else view.mailbox.copy
        session.progress.begin(len(uids))
        result = await transfer(
            uids, access.name, into=access.folders, rights=access.rights, progress=session.progress
        )
    except NotFound as error:
        if view.mailbox.deleted:
            # Not the destination is lacking.
            raise
        return try_create(error, command.mailbox, session.services.namespaces)
    session.brought(access.account, access.name, result.target)
    if result.source:
        session.services.hooks.emit(
            Moved(
                account=access.account, mailbox=access.name, uids=NumSet.from_numbers(result.target),
                source_account=view.owner, source=view.mailbox.name, copied=not move,
            )
        )  # fmt: skip
    # All of them went while this command waited for its turn. If only some did, COPYUID says what was done.
    return GONE if view.lacks(command, spans, 0) and not result.source else result


def _copyuid(result: CopyResult) -> str:
    if not result.source:
        return ""
    return f"COPYUID {result.uid_validity} {NumSet.from_numbers(result.source)} {NumSet.from_numbers(result.target)}"
