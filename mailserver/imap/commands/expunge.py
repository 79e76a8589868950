"""EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9)."""

from __future__ import annotations

from collections.abc import Sequence

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
    if gone:
        await view.mailbox.expunge(gone)
        for piece in session.pending():
            yield piece
    # RFC 7162 §3.2.7: only when something was expunged, and after all VANISHED.
    code = f"HIGHESTMODSEQ {view.mailbox.highest_modseq}" if gone and session.qresync else ""
    yield ok("EXPUNGE completed", code)


def deleted_uids(view: Selected, spans: Sequence[range]) -> list[int]:
    r"""UIDs of the messages at these positions that exist and are \Deleted now."""
    deleted = view.mailbox.flag_table.having(DELETED)
    if not deleted:
        return []
    rows = view.rows_in(spans)
    return [uid for uid, number in zip(rows.uids, rows.flags, strict=True) if number in deleted]
