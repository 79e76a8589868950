"""EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9; MESSAGELIMIT: RFC 9738)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.imap.message_limit import Reached, completed, message_limit
from mailserver.imap.replies import Responses, ok
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.model.flags import DELETED
from mailserver.model.rights import Right
from mailserver.wire.imap import commands

__all__ = ["deleted_uids", "expunge"]


async def expunge(session: Session, command: commands.Expunge) -> Responses:
    r"""Remove messages that are \Deleted: all, or those among the named UIDs. EXPUNGE is told with the completion."""
    view = session.view
    if (refused := view.refusal(Right.EXPUNGE)) is not None:
        yield refused
        return
    named = [range(view.count)] if command.uids is None else view.spans(command.uids, uid=True)
    gone = deleted_uids(view, named)
    # RFC 9738 §3.1: EXPUNGE has no limit.
    limit, reached = message_limit(session) if command.uids is not None else 0, None
    if 0 < limit < len(gone):
        gone = gone[-limit:]
        reached = Reached(limit, gone[0])
    if gone:
        session.progress.begin(len(gone))
        await view.mailbox.expunge(gone, progress=session.progress)
        for piece in session.pending():
            yield piece
    # RFC 7162 §3.2.7: only when something was expunged, and after all VANISHED.
    code = f"HIGHESTMODSEQ {view.mailbox.highest_modseq}" if gone and session.qresync else ""
    for line in completed(ok("EXPUNGE completed", code), reached):
        yield line


def deleted_uids(view: Selected, spans: Sequence[range]) -> list[int]:
    r"""UIDs of the messages at these positions that exist and are \Deleted now."""
    deleted = view.mailbox.flag_table.having(DELETED)
    if not deleted:
        return []
    rows = view.rows_in(spans)
    return [uid for uid, number in zip(rows.uids, rows.flags, strict=True) if number in deleted]
