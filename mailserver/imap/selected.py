"""The selected mailbox as one client knows it. The only place with sequence numbers (DESIGN §7).

A client's picture is three values: the `MessageTable` generation that it was told about, how many of its first messages
it knows (`count`), and the MODSEQ up to which flag changes were told. Message number k is position k - 1 of that table,
so an idle session copies nothing: the arrays are the mailbox's own. What other sessions do is pending until
`pending()` says it:

* new messages: the table grew beyond `count`                              → EXISTS
* removed ones: the mailbox has a table of a later generation              → EXPUNGE or VANISHED, only when allowed
* changed flags: the mailbox's MODSEQ passed ours                          → FETCH

While an EXPUNGE waits, the client's numbers are those of its old table; flags are always read from the live table.
New messages are announced only on the newest table, so EXISTS never counts a message twice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from mailserver.imap.access.permissions import Judge, Permissions, everything
from mailserver.imap.replies import BadArguments
from mailserver.imap.rows import Rows
from mailserver.imap.search.contexts import Contexts
from mailserver.model.flags import SYSTEM_FLAGS, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import MessageTable
from mailserver.model.numset import NumSet
from mailserver.ports.store import Mailbox
from mailserver.wire.imap.commands import Copy, Fetch, Move, Store
from mailserver.wire.imap.sequence_set import SavedResult, SequenceSet

__all__ = ["FlagsShown", "Selected"]

#: Messages per piece of an unsolicited answer; a piece is some 60 KiB.
_PIECE = 1000
_NOBODY = AccountId("")


@dataclass(frozen=True, slots=True)
class FlagsShown:
    """What an unsolicited FETCH shows beside FLAGS: `uid` for rev2 and QRESYNC, `modseq` once CONDSTORE is on."""

    uid: bool = False
    modseq: bool = False


class Selected(Permissions):
    """One session's view of a mailbox. Lives on the event loop; `close` gives the mailbox back to the store."""

    __slots__ = (
        "_keywords_told", "_lease", "_sets_told", "_told", "contexts", "count", "modseq", "own", "owner", "result",
        "synced", "table", "uid_only",
    )  # fmt: skip

    def __init__(
        self, mailbox: Mailbox, lease: AsyncExitStack, *, read_only: bool, owner: AccountId = _NOBODY,
        judge: Judge = everything,
    ) -> None:  # fmt: skip
        """`owner` is the account whose mailbox it is."""
        super().__init__(mailbox, judge, examined=read_only)
        self.owner = owner
        self.table: MessageTable = mailbox.table
        self.count = len(self.table)
        #: Up to which flag changes were told, and up to which all was told: EXPUNGE may have to wait.
        self.modseq = self.synced = mailbox.highest_modseq
        #: UIDs that this client brought here and was not told of yet.
        self.own = set[int]()
        #: RFC 9586: messages are called by their UIDs, in UIDFETCH responses.
        self.uid_only = False
        #: `$` of SEARCHRES (RFC 5182), as UIDs; what was expunged since falls out by itself.
        self.result = NumSet()
        #: Searches of which the client hears when their results change.
        self.contexts = Contexts()
        self._lease = lease
        self._told: dict[int, int] | None = None
        self._sets_told = len(mailbox.flag_table.sets)
        self._keywords_told = len(mailbox.flag_table.keywords())

    def restart(self) -> NumSet:
        """Begin with what is there now, before anything was told; the messages that went since the last beginning."""
        old, box = self.table, self.mailbox
        gone = box.expunged_since(old.generation)
        self.table = box.table
        self.count = len(self.table)
        self.modseq = self.synced = box.highest_modseq
        return NumSet.from_numbers(old.uids) - NumSet.from_numbers(self.table.uids) if gone is None else gone

    async def close(self) -> None:
        """Leave the mailbox."""
        await self._lease.aclose()

    # --- numbers and positions

    @property
    def stale(self) -> bool:
        """True while the client still counts messages that are gone."""
        return self.mailbox.table is not self.table

    @property
    def last_uid(self) -> int:
        """The highest UID that the client knows; 0 in an empty mailbox."""
        return self.table.uids[self.count - 1] if self.count else 0

    def spans(self, messages: SequenceSet | SavedResult, *, uid: bool) -> list[range]:
        """The positions that a command names, ascending.

        Raises:
            BadArguments: a sequence number that does not exist (RFC 9051 §9 seq-number); UIDs need not exist.
        """
        if isinstance(messages, SavedResult):
            return self.spans_of_uids(self.result)
        if uid:
            return self.spans_of_uids(messages.resolve(self.last_uid))
        if messages.exceeds(self.count):
            raise BadArguments(f"the mailbox has {self.count} messages")
        return self.spans_of_numbers(messages.resolve(self.count))

    def spans_of_numbers(self, numbers: NumSet) -> list[range]:
        """Positions of message sequence numbers; those that do not exist are left out."""
        return [range(low - 1, min(high, self.count)) for low, high in numbers.ranges if low <= self.count]

    def spans_of_uids(self, uids: NumSet) -> list[range]:
        """Positions of the UIDs that the client knows of."""
        out = []
        for low, high in uids.ranges:
            start = bisect_left(self.table.uids, low, 0, self.count)
            stop = bisect_right(self.table.uids, high, start, self.count)
            if start < stop:
                out.append(range(start, stop))
        return out

    @staticmethod
    def lacks(command: Copy | Fetch | Move | Store, spans: Sequence[range], found: int) -> bool:
        """Whether `found` is less than what the client named by number: it must hear of that (RFC 2180 §4).

        UIDs need not exist, and `$` loses what is expunged (RFC 9051 §6.4.4.1).
        """
        by_number = isinstance(command.messages, SequenceSet) and not command.uid
        return by_number and found < sum(map(len, spans))

    def rows_in(self, spans: Sequence[range]) -> Rows:
        """The messages at these positions (ascending); those that are gone are left out."""
        if len(spans) == 1:
            return self.rows(spans[0])
        return self._rows_at([position for span in spans for position in span])

    def uids_at(self, spans: Sequence[range]) -> Sequence[int]:
        """The UIDs at these positions, ascending, that still exist."""
        return self.rows_in(spans).uids

    def numbers_of(self, uids: Sequence[int]) -> list[int]:
        """Message numbers of UIDs that the client knows; others are left out."""
        out = []
        for uid in uids:
            at = self._position(uid)
            if at >= 0:
                out.append(at + 1)
        return out

    def _position(self, uid: int) -> int:
        at = bisect_left(self.table.uids, uid, 0, self.count)
        return at if at < self.count and self.table.uids[at] == uid else -1

    def rows(self, span: range) -> Rows:
        """The messages at these positions with their present flags; those that are gone are left out."""
        table, part = self.table, slice(span.start, span.stop)
        rows = Rows(
            table.uids[part] if self.uid_only else range(span.start + 1, span.stop + 1), table.uids[part],
            table.flags[part], table.modseqs[part], table.sizes[part], table.dates[part], table.saved[part],
        )  # fmt: skip
        return self.live(rows) if self.stale else rows

    def rows_of(self, uids: NumSet) -> Rows:
        """As `rows`, for UIDs; those that the client does not know, or that are gone, are left out."""
        return self.rows_in(self.spans_of_uids(uids))

    def batches(self, spans: Sequence[range], size: int) -> Iterator[Rows]:
        """The messages at these positions, about `size` at a time."""
        waiting: list[int] = []
        for span in spans:
            for start in range(span.start, span.stop, size):
                piece = range(start, min(start + size, span.stop))
                if not waiting and len(piece) == size:
                    yield self.rows(piece)
                    continue
                waiting.extend(piece)
                if len(waiting) >= size:
                    yield self._rows_at(waiting)
                    waiting = []
        if waiting:
            yield self._rows_at(waiting)

    def _rows_at(self, at: Sequence[int]) -> Rows:
        if at and at[-1] - at[0] + 1 == len(at):
            return self.rows(range(at[0], at[-1] + 1))
        table = self.table
        rows = Rows(
            [table.uids[position] if self.uid_only else position + 1 for position in at],
            *([column[position] for position in at] for column in
              (table.uids, table.flags, table.modseqs, table.sizes, table.dates, table.saved)),
        )  # fmt: skip
        return self.live(rows) if self.stale else rows

    def live(self, rows: Rows) -> Rows:
        """The same rows without what is gone, and with the flags of now."""
        live = self.mailbox.table
        places = [live.find(uid) for uid in rows.uids]
        rows = rows.take([i for i, place in enumerate(places) if place >= 0])
        rows.flags = [live.flags[place] for place in places if place >= 0]
        rows.modseqs = [live.modseqs[place] for place in places if place >= 0]
        return rows

    # --- our own changes

    def untold(self, uids: Sequence[int]) -> set[int]:
        """Those of `uids` whose flags were changed by others and not yet told; to be asked before a STORE."""
        if self.mailbox.highest_modseq <= self.modseq:
            return set()
        return set(self.mailbox.flags_changed_since(self.modseq)).intersection(uids)

    def told(self, rows: Rows) -> None:
        """The client was shown these flags."""
        told = self._told if self._told is not None else {}
        told.update(zip(rows.uids, rows.modseqs, strict=True))
        self._told = told

    def told_silently(
        self, before: Rows, untold: set[int], how: FlagChange, flags: frozenset[str], changed: NumSet
    ) -> None:
        """After STORE .SILENT: the client works out the new flags itself, unless others changed the message as well.

        Args:
            before: the messages as they were then, and which of them were `untold`.
            how, flags: what STORE did to them.
            changed: those that it was done to.
        """
        change = self.mailbox.flag_table.change
        expected = {number: change(number, how, flags) for number in set(before.flags)}
        old = dict(zip(before.uids, before.flags, strict=True))
        rows = self.rows_of(changed)
        self.told(rows.take([
            at for at, (uid, number) in enumerate(zip(rows.uids, rows.flags, strict=True))
            if uid not in untold and uid in old and expected[old[uid]] == number
        ]))  # fmt: skip

    # --- what the client is told unasked

    def has_pending(self) -> bool:
        """Whether `pending` with expunges allowed would say something; costs a few comparisons."""
        box = self.mailbox
        return (
            box.table is not self.table or len(self.table) > self.count or box.highest_modseq > self.modseq
            or self.rights_pending
        )  # fmt: skip

    def pending(
        self, shown: FlagsShown, *, expunge: bool, flags: bool = True, vanished: bool = False, pushed: bool = False
    ) -> Iterator[bytes]:
        """Say what happened since the last time, piece by piece.

        Args:
            shown: what goes beside FLAGS.
            expunge: False while a FETCH, STORE or SEARCH by sequence number is answered (RFC 9051 §7.5.1).
            flags: False to leave out how flags changed: the client does not want to hear of it.
            vanished: VANISHED instead of EXPUNGE (RFC 7162 §3.2.10).
            pushed: no command is the occasion: that something has to wait is said only when there is news.
        """
        if not self.has_pending():
            self._told, self.synced = None, self.modseq
            return
        last, modseq = self.last_uid, self.modseq
        if self.rights_pending and self.rights_told():
            # RFC 4314 §5.1.1: what the client may set now.
            yield self.flags_line()
        if self.stale:
            yield from self.contexts.expunged(self.mailbox, self.numbers_of)
        if expunge and self.stale:
            yield from self._expunged(vanished=vanished)
        if not self.stale and len(self.table) > self.count:
            self.count = len(self.table)
            yield b"* %d EXISTS\r\n" % self.count
        if not flags:
            self.modseq = self.mailbox.highest_modseq
        elif self.mailbox.highest_modseq > self.modseq:
            yield from self._changed(shown, last)
        self._told = None
        if not self.has_pending():
            self.synced = self.modseq
        elif vanished and not (pushed and self.modseq == modseq):
            # RFC 7162 §6: the client saw MODSEQs above that of what it was not told. If the connection ended now, and
            # it came back with the highest of them, it would never hear of the rest.
            yield b"* OK [HIGHESTMODSEQ %d] Not all is told yet\r\n" % self.synced

    def _expunged(self, *, vanished: bool) -> Iterator[bytes]:
        old, known, last = self.table, self.count, self.last_uid
        gone_uids = self.mailbox.expunged_since(old.generation)
        self.table = new = self.mailbox.table
        self.count = bisect_right(new.uids, last)
        if gone_uids is None:
            present = set(new.uids)
            gone = [at for at in range(known) if old.uids[at] not in present]
        else:
            gone = []
            for low, high in gone_uids.ranges:
                start = bisect_left(old.uids, low, 0, known)
                gone.extend(range(start, bisect_right(old.uids, high, start, known)))
        if not gone:
            return
        if vanished:
            yield b"* VANISHED %b\r\n" % NumSet.from_numbers(old.uids[at] for at in gone).encode()
            return
        # From the last to the first, so that no number changes before it is said (§7.5.1).
        gone.reverse()
        for start in range(0, len(gone), _PIECE):
            yield b"".join([b"* %d EXPUNGE\r\n" % (at + 1) for at in gone[start : start + _PIECE]])

    def _changed(self, shown: FlagsShown, last: int) -> Iterator[bytes]:
        box, told = self.mailbox, self._told or {}
        changed = box.flags_changed_since(self.modseq)
        self.modseq = box.highest_modseq
        yield self.new_keywords()
        # A message that is announced just now is not told again: its flags are what the client will fetch.
        live, uids = box.table, changed[: bisect_right(changed, last)]
        if told:
            uids = [uid for uid in uids if (at := live.find(uid)) < 0 or told.get(uid) != live.modseqs[at]]
        for start in range(0, len(uids), _PIECE):
            rows = self.rows_of(NumSet.from_numbers(uids[start : start + _PIECE]))
            if rows:
                yield self.flag_lines(rows, shown)

    def new_keywords(self) -> bytes:
        """FLAGS again when the mailbox met keywords that the client was not told of; else nothing."""
        table = self.mailbox.flag_table
        if len(table.sets) == self._sets_told:
            return b""
        self._sets_told = len(table.sets)
        if (count := len(table.keywords())) == self._keywords_told:
            return b""
        self._keywords_told = count
        return self.flags_line()

    def flags_line(self) -> bytes:
        """FLAGS and PERMANENTFLAGS (RFC 9051 §7.3.5, §7.1)."""
        known = [*SYSTEM_FLAGS, *self.mailbox.flag_table.keywords()]
        self.rights_told()
        flags, lasting = " ".join(known), " ".join(self.permanent(known))
        return f"* FLAGS ({flags})\r\n* OK [PERMANENTFLAGS ({lasting})] Flags that last\r\n".encode("ascii")

    def flag_lines(self, rows: Rows, shown: FlagsShown) -> bytes:
        """FETCH responses with the present flags of these messages."""
        rendered = self.mailbox.flag_table.rendered
        flags = [rendered[number] for number in rows.flags]
        if self.uid_only:
            if shown.modseq:
                changes = zip(rows.uids, rows.modseqs, flags, strict=True)
                lines = [b"* %d UIDFETCH (MODSEQ (%d) FLAGS (%b))\r\n" % row for row in changes]
            else:
                lines = [b"* %d UIDFETCH (FLAGS (%b))\r\n" % row for row in zip(rows.uids, flags, strict=True)]
        elif shown.modseq:
            lines = [
                b"* %d FETCH (UID %d MODSEQ (%d) FLAGS (%b))\r\n" % row
                for row in zip(rows.numbers, rows.uids, rows.modseqs, flags, strict=True)
            ]
        elif shown.uid:
            columns = zip(rows.numbers, rows.uids, flags, strict=True)
            lines = [b"* %d FETCH (UID %d FLAGS (%b))\r\n" % row for row in columns]
        else:
            lines = [b"* %d FETCH (FLAGS (%b))\r\n" % row for row in zip(rows.numbers, flags, strict=True)]
        return b"".join(lines)
