"""What all clients together know: the mailboxes, their messages, what was promised, and what can have been removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.stress.history import NEVER, Copied, Message, Write
from tests.stress.responses import Fault

__all__ = ["DELETED", "FLAGS", "SHARED", "Box", "Removal", "World"]

DELETED = "\\Deleted"
#: Every flag that anybody sets.
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", DELETED, "\\Draft", "$Junk", "work", "later")
#: Mailboxes that all use, and nobody renames or deletes.
SHARED = ("INBOX", "Shared", "Pool")


@dataclass(slots=True)
class Removal:
    """Something that removes messages between two moments: these UIDs; `marked`: only if they are \\Deleted then."""

    start: int
    uids: frozenset[int] | None = None
    marked: bool = True
    end: int = NEVER


@dataclass(slots=True, eq=False)
class Box:
    """A mailbox, known by its UIDVALIDITY whatever its name is."""

    uid_validity: int
    messages: dict[int, Message] = field(default_factory=dict)
    #: UIDs whose messages were found to be gone when everything was quiet.
    dead: set[int] = field(default_factory=set)
    removals: list[Removal] = field(default_factory=list)
    #: What anybody was told last; never falls.
    uid_next: int = 1
    modseq: int = 0
    #: Somebody asked to delete it.
    doomed: bool = False

    def message(self, uid: int) -> Message:
        """The message of a UID. Raises Fault: it was removed long ago."""
        if uid in self.dead:
            raise Fault(f"UID {uid} of mailbox {self.uid_validity} is there again")
        found = self.messages.get(uid)
        if found is None:
            found = self.messages[uid] = Message(uid)
        return found

    def told_uid_next(self, value: int, since: int) -> None:
        """UIDNEXT in an answer to a command that was sent at `since`, when `since` was our present."""
        if value < since:
            raise Fault(f"UIDNEXT of {self.uid_validity} fell from {since} to {value}")
        self.uid_next = max(self.uid_next, value)

    def told_modseq(self, value: int, since: int) -> None:
        """HIGHESTMODSEQ; `since` is what was known when the command was sent."""
        if value < since:
            raise Fault(f"HIGHESTMODSEQ of {self.uid_validity} fell from {since} to {value}")
        self.modseq = max(self.modseq, value)


class World:
    """The clock, the names, and everything that is true for all clients."""

    def __init__(self) -> None:
        self.now = 0
        self.boxes: dict[int, Box] = {}
        #: UIDVALIDITY of the shared mailboxes.
        self.names: dict[str, int] = {}
        self.last_name = 0
        #: Messages made whose UID nobody was told: for each the flags that it may have been born with, None for any.
        self.loose: dict[int, list[frozenset[str] | None]] = {}
        #: Acknowledged without a UID (SMTP, files): by mailbox name.
        self.promised: dict[str, set[int]] = {}
        #: Changes of files: removed ones and flags, by mailbox name and number of the message.
        self.files_removed: Counter[tuple[str, int]] = Counter()
        self.file_flags: list[tuple[str, int, str, Write]] = []
        #: Messages that somebody should have been told of by a moment, and was not: they must be gone by then.
        self.missing: list[tuple[Box, Message, int, str]] = []
        self.commands: Counter[str] = Counter()
        #: The server is being killed: connections may end.
        self.killing = False

    def tick(self) -> int:
        """The next moment."""
        self.now += 1
        return self.now

    def new_name(self) -> int:
        """The number of a message that was not yet."""
        self.last_name += 1
        return self.last_name

    def box(self, uid_validity: int) -> Box:
        """The mailbox of a UIDVALIDITY."""
        return self.boxes.setdefault(uid_validity, Box(uid_validity))

    def opened(self, name: str, uid_validity: int) -> Box:
        """Somebody selected a mailbox. Raises Fault: a shared one has another UIDVALIDITY than before."""
        if name in SHARED and self.names.setdefault(name, uid_validity) != uid_validity:
            raise Fault(f"UIDVALIDITY of {name} was {self.names[name]} and is {uid_validity}")
        return self.box(uid_validity)

    # --- what happened to messages

    def met(self, box: Box, uid: int, name: int, size: int = 0, date: bytes = b"") -> Message:
        """Somebody saw who a UID is. Raises Fault: it was someone else before."""
        message = box.message(uid)
        known = (message.name, message.size, message.date)
        if any(old and new and old != new for old, new in zip(known, (name, size, date), strict=True)):
            raise Fault(f"UID {uid} in {box.uid_validity} was {known} and is {(name, size, date)}")
        message.name, message.size, message.date = name or message.name, size or message.size, date or message.date
        return message

    def made(
        self, box: Box, uid: int, name: int, born: frozenset[str] | Copied, *, floor: int, start: int
    ) -> None:
        """The server acknowledged a new message by its UID. `floor`: UIDNEXT as known when the command was sent."""
        if uid < floor:
            raise Fault(f"new UID {uid} of {box.uid_validity} is below UIDNEXT {floor}, which was told before")
        message = self.met(box, uid, name)
        if message.kept != NEVER:
            raise Fault(f"UID {uid} of {box.uid_validity} was given to {message.name}, and at {start} to {name}")
        message.kept, message.born = self.tick(), born

    def perhaps(self, name: int, flags: frozenset[str] | None) -> None:
        """A message was made, or not, or its UID was not told."""
        self.loose.setdefault(name, []).append(flags)

    def told_gone(self, box: Box, uids: Iterable[int]) -> None:
        """A client was told that these are no more."""
        now = self.tick()
        for uid in uids:
            if uid not in box.dead:
                message = box.message(uid)
                message.gone = min(message.gone, now)

    def missed(self, box: Box, uids: Iterable[int], who: str) -> None:
        """An answer that ends now said nothing of these messages, which is right only if they are gone."""
        now = self.tick()
        self.missing += [(box, box.message(uid), now, who) for uid in uids if uid not in box.dead]

    def removing(self, box: Box, uids: Sequence[int] | None, *, marked: bool) -> Removal:
        """A command that removes is about to be sent."""
        removal = Removal(self.tick(), None if uids is None else frozenset(uids), marked)
        box.removals.append(removal)
        return removal

    def may_be_gone(self, box: Box, message: Message, by: int) -> bool:
        """Whether something that began before `by` can have removed the message. One that nobody ever saw can be any
        whose file was removed."""
        files = self.removed_files(box)
        return self.may_be_expunged(box, message, by) or bool(files[message.name] if message.name else files.total())

    @staticmethod
    def may_be_expunged(box: Box, message: Message, by: int) -> bool:
        """Whether a command that began before `by` can have removed it."""
        for removal in box.removals:
            if removal.start >= by or (removal.uids is not None and message.uid not in removal.uids):
                continue
            if not removal.marked or message.possible(DELETED, True, removal.start, min(by, removal.end)):
                return True
        return False

    def removed_files(self, box: Box) -> Counter[int]:
        """How many files of each message the other program removed from a mailbox."""
        return Counter({
            number: count for (name, number), count in self.files_removed.items()
            if self.names.get(name) == box.uid_validity
        })  # fmt: skip
