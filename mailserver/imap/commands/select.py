"""SELECT and EXAMINE (RFC 9051 §6.3.2, §6.3.3; CONDSTORE and QRESYNC: RFC 7162 §3.1.8, §3.2.5)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from mailserver.imap.replies import Responses, bad, ok
from mailserver.imap.rows import Rows
from mailserver.imap.selected import FlagsShown, Selected
from mailserver.imap.session import Session
from mailserver.model.flags import SEEN
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.model.rights import Right
from mailserver.wire.imap import commands
from mailserver.wire.imap.responses import list_line, vanished

__all__ = ["select", "vanished_among"]

_PIECE = 1000
_EVERY_UID = NumSet(((1, MAX_NUMBER),))


async def select(session: Session, command: commands.Select) -> Responses:
    """Open a mailbox and describe it; with QRESYNC also what happened since the client last saw it."""
    if command.qresync is not None and not session.qresync:
        yield bad("QRESYNC was not enabled")
        return
    if session.selected is not None:
        await session.unselect()
        yield b"* OK [CLOSED] The mailbox before this one is closed\r\n"
    # Also when the mailbox cannot be opened, nothing is selected afterwards (§6.3.2).
    access = await session.access(command.mailbox, Right.READ)
    view = await session.select(access, read_only=command.read_only)
    if command.condstore:
        session.condstore = True
    known = command.qresync
    changes: Iterator[bytes] = iter(())
    if known is not None and known.uid_validity == view.mailbox.uid_validity:
        changes = await _resynchronize(view, known)
    # All that is told is the mailbox at one moment: what happens from now on comes after it.
    yield _description(session, view)
    for piece in changes:
        yield piece
    name = "EXAMINE" if command.read_only else "SELECT"
    yield ok(f"{name} completed", "READ-ONLY" if view.read_only else "READ-WRITE")


def _description(session: Session, view: Selected) -> bytes:
    box = view.mailbox
    lines = [view.flags_line(), b"* %d EXISTS\r\n" % view.count]
    if not session.rev2:
        # We keep no \Recent: it costs a write per message and session, and IMAP4rev2 dropped it (docs/imap.md).
        lines.append(b"* 0 RECENT\r\n")
        if not session.uid_only and (first := _first_unseen(view)) is not None:
            lines.append(b"* OK [UNSEEN %d] First unseen\r\n" % first)
    lines.append(b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % box.uid_validity)
    lines.append(b"* OK [UIDNEXT %d] Next UID\r\n" % box.uid_next)
    if session.offers("OBJECTID"):
        # RFC 8474 §4.2
        lines.append(b"* OK [MAILBOXID (%b)] Its id, whatever its name\r\n" % box.mailbox_id.encode("ascii"))
    if session.offers("URLAUTH"):
        # RFC 4467 §8
        lines.append(b"* OK [URLMECH INTERNAL] URLs of it can be authorized\r\n")
    if session.offers("CONDSTORE"):
        lines.append(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % view.modseq)
    if session.rev2:
        name = session.reach.to_client(view.owner, box.name)
        lines.append(list_line((), session.services.layout.separator, name, utf8=session.utf8))
    return b"".join(lines)


def _first_unseen(view: Selected) -> int | None:
    seen = view.mailbox.flag_table.having(SEEN)
    return next((number for number, flags in enumerate(view.table.flags[: view.count], 1) if flags not in seen), None)


async def _resynchronize(view: Selected, known: commands.QResync) -> Iterator[bytes]:
    """What changed since the client saw the mailbox. The view is that of the moment of return."""
    wanted = known.known_uids if known.known_uids is not None else _EVERY_UID
    gone = await vanished_among(view, wanted, known.modseq, known.match)
    gone = NumSet.from_ranges([*gone.ranges, *(view.restart() & wanted).ranges])
    changed = NumSet.from_numbers(view.mailbox.flags_changed_since(known.modseq)) & wanted
    return _changes(view, gone, view.rows_of(changed))


def _changes(view: Selected, gone: NumSet, rows: Rows) -> Iterator[bytes]:
    yield vanished(gone, earlier=True)
    shown = FlagsShown(uid=True, modseq=True)
    for start in range(0, len(rows), _PIECE):
        yield view.flag_lines(rows.part(start, start + _PIECE), shown)


async def vanished_among(
    view: Selected, wanted: NumSet, modseq: int, match: tuple[NumSet, NumSet] | None = None
) -> NumSet:
    """Those of the `wanted` UIDs that were expunged after `modseq` (RFC 7162 §3.2.5.2, §3.2.6).

    Where tombstones do not reach back that far, everything that is not there counts as expunged; `match` (sequence
    numbers and their UIDs as the client knew them) then saves it from being told what it knows already (§3.2.5.1).
    """
    # UIDs that no message has had yet have not vanished, whatever set the client named.
    wanted = wanted - NumSet(((view.mailbox.uid_next, MAX_NUMBER),))
    changes = await view.mailbox.changes_since(modseq)
    if changes.vanished_complete:
        wanted = changes.vanished & wanted
    elif match is not None and (unchanged := _unchanged_up_to(view, match)):
        wanted = wanted - NumSet(((1, unchanged),))
    # A message that went while we asked has a number still; it is told with EXPUNGE or VANISHED later.
    table = view.table.uids
    return wanted - NumSet.from_numbers(
        uid for span in view.spans_of_uids(wanted) for uid in table[span.start : span.stop]
    )


def _unchanged_up_to(view: Selected, match: tuple[NumSet, NumSet]) -> int:
    """The highest UID of the client's pairs that still has its sequence number: nothing below it was expunged."""
    highest = 0
    for number, uid in zip(match[0], match[1], strict=False):
        at = bisect_left(view.table.uids, uid, 0, view.count)
        if at != number - 1 or at >= view.count or view.table.uids[at] != uid:
            break
        highest = uid
    return highest
