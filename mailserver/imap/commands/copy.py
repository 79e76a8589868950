"""COPY and MOVE (RFC 9051 §6.4.7, §6.4.8; COPYUID: §7.1)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, no, ok
from mailserver.imap.session import Session
from mailserver.model.errors import NotFound
from mailserver.model.mailbox import CopyResult
from mailserver.model.numset import NumSet
from mailserver.wire.imap import commands

__all__ = ["copy", "move"]


async def copy(session: Session, command: commands.Copy) -> Responses:
    """Copy messages to the end of another mailbox, all or none."""
    view = session.view
    uids = view.uids_at(view.spans(command.messages, uid=command.uid))
    destination = session.services.layout.to_store(command.mailbox)
    try:
        result = await view.mailbox.copy(uids, destination)
    except NotFound as error:
        yield no(error.text, "TRYCREATE")
        return
    yield ok("COPY completed", _copyuid(result))


async def move(session: Session, command: commands.Move) -> Responses:
    """Copy and remove as one; COPYUID comes before the EXPUNGEs (RFC 6851 §4.3)."""
    view = session.view
    if view.read_only:
        yield no("the mailbox is open for reading only", "READ-ONLY")
        return
    uids = view.uids_at(view.spans(command.messages, uid=command.uid))
    destination = session.services.layout.to_store(command.mailbox)
    try:
        result = await view.mailbox.move(uids, destination)
    except NotFound as error:
        yield no(error.text, "TRYCREATE")
        return
    if result.source:
        yield f"* OK [{_copyuid(result)}] Moved\r\n".encode("ascii")
    for piece in session.pending():
        yield piece
    code = f"HIGHESTMODSEQ {view.mailbox.highest_modseq}" if result.source and session.qresync else ""
    yield ok("MOVE completed", code)


def _copyuid(result: CopyResult) -> str:
    if not result.source:
        return ""
    return f"COPYUID {result.uid_validity} {NumSet.from_numbers(result.source)} {NumSet.from_numbers(result.target)}"
