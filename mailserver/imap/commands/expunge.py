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
    known = view.known_uids() if command.uids is None else view.uids_at(view.spans(command.uids, uid=True))
    gone = deleted_uids(view, known)
    if gone:
        await view.mailbox.expunge(gone)
        for piece in session.pending():
            yield piece
    # RFC 7162 §3.2.7: only when something was expunged, and after all VANISHED.
    code = f"HIGHESTMODSEQ {view.mailbox.highest_modseq}" if gone and session.qresync else ""
    yield ok("EXPUNGE completed", code)


def deleted_uids(view: Selected, uids: Sequence[int]) -> list[int]:
    r"""Those of these UIDs that exist and are \Deleted now."""
    table, deleted = view.mailbox.table, view.mailbox.flag_table.having(DELETED)
    if not deleted:
        return []
    return [uid for uid in uids if (at := table.find(uid)) >= 0 and table.flags[at] in deleted]
