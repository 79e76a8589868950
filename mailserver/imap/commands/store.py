"""STORE (RFC 9051 §6.4.6; UNCHANGEDSINCE: RFC 7162 §3.1.3; MESSAGELIMIT: RFC 9738)."""

from __future__ import annotations

from collections.abc import Iterator

from mailserver.imap.message_limit import completed, highest, message_limit
from mailserver.imap.replies import GONE, Completion, Responses, ok
from mailserver.imap.rows import Rows
from mailserver.imap.selected import FlagsShown, Selected
from mailserver.imap.session import Session
from mailserver.model.events import FlagsChanged
from mailserver.model.numset import NumSet
from mailserver.model.rights import FLAG_RIGHTS, right_for_flag
from mailserver.wire.imap import commands

__all__ = ["store"]

_PIECE = 1000


async def store(session: Session, command: commands.Store) -> Responses:
    """Change flags in one transaction, and show them unless the client wants silence.

    Of flags for which the client lacks rights nothing is changed, and all is well as long as one of them could be
    (RFC 4314 §4: clients do not take a NO well).
    """
    view = session.view
    rights = view.rights
    needed = {right_for_flag(flag) for flag in command.flags} or FLAG_RIGHTS
    if (refused := view.refusal(*(needed if rights.isdisjoint(needed) else ()))) is not None:
        yield refused
        return
    named = view.spans(command.messages, uid=command.uid)
    spans, reached = highest(view, named, message_limit(session))
    before = view.rows_in(spans)
    if command.unchanged_since is not None:
        yield session.enable_condstore()
    untold = view.untold(before.uids)
    session.progress.begin(len(before))
    result = await view.mailbox.set_flags(
        before.uids, command.how, command.flags, unchanged_since=command.unchanged_since, rights=rights,
        progress=session.progress,
    )  # fmt: skip
    if result.changed:
        session.services.hooks.emit(
            FlagsChanged(
                account=view.owner, mailbox=view.mailbox.name, uids=result.changed, how=command.how,
                flags=command.flags,
            )
        )  # fmt: skip
    yield view.new_keywords()
    if command.silent:
        if rights.issuperset(FLAG_RIGHTS):
            view.told_silently(before, untold, command.how, command.flags, result.changed)
        if session.condstore:
            for piece in _modseqs(view, result.changed):
                yield piece
    else:
        shown = FlagsShown(uid=command.uid or session.shown.uid, modseq=session.condstore)
        for rows in _pieces(view, result.changed):
            view.told(rows)
            yield view.flag_lines(rows, shown)
    # Counted after the change: others may have expunged some of them while this one waited for its turn.
    complete = result.modified or not view.lacks(command, spans, len(result.changed))
    for line in completed(_completion(view, command, result.modified) if complete else GONE, reached):
        yield line


def _pieces(view: Selected, uids: NumSet) -> Iterator[Rows]:
    rows = view.rows_of(uids)
    for start in range(0, len(rows), _PIECE):
        yield rows.part(start, start + _PIECE)


def _modseqs(view: Selected, uids: NumSet) -> Iterator[bytes]:
    """RFC 7162 §3.1.3: with .SILENT the new MODSEQs are told all the same."""
    for rows in _pieces(view, uids):
        columns = zip(rows.numbers, rows.uids, rows.modseqs, strict=True)
        line = b"* %d UIDFETCH (UID %d MODSEQ (%d))\r\n" if view.uid_only else b"* %d FETCH (UID %d MODSEQ (%d))\r\n"
        yield b"".join([line % row for row in columns])


def _completion(view: Selected, command: commands.Store, modified: NumSet) -> Completion:
    if not modified:
        return ok("STORE completed")
    # RFC 7162 §3.1.3: UIDs for UID STORE, else sequence numbers.
    named = modified if command.uid else NumSet.from_numbers(view.numbers_of(list(modified)))
    return ok("some messages were changed by others", f"MODIFIED {named}")
