"""What is known of one message in one mailbox: who it is, what was done to its flags, what was seen of them.

All clients run in one thread, so a counter is a clock: what ended at 5 was before what began at 6, and what overlaps
may have happened in either order. A flag is a register. A value that was seen must be explained by some order: a write
of this value that began before the look ended, and that no write of the other value certainly followed before the look
began. What was done and seen is judged when everything is quiet, because only then is all of it known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.stress.responses import Fault

__all__ = ["NEVER", "Message", "Read", "Write"]

#: Ends after everything.
NEVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Write:
    """A flag set or cleared between two moments; not `sure`: perhaps, or perhaps not."""

    start: int
    end: int
    value: bool
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Read:
    """Flags seen between two moments. `over`: the flags that this tells about, None for all. `who`: for the report."""

    start: int
    end: int
    flags: frozenset[str]
    over: frozenset[str] | None
    who: str
    #: It says nothing if the message is gone (a SEARCH that did not find it).
    if_there: bool = False


@dataclass(slots=True)
class Copied:
    """The flags that another message had between two moments."""

    source: Message
    start: int
    end: int


@dataclass(slots=True, eq=False)
class Message:
    """One UID of one mailbox. `name` is the number that it carries in its header and body, 0 until someone saw it."""

    uid: int
    name: int = 0
    size: int = 0
    date: bytes = b""
    #: Flags when it was made: known exactly, one of several, those of another message; None until known, and loose.
    born: frozenset[str] | tuple[frozenset[str], ...] | Copied | None = None
    #: When its making was acknowledged with this UID; NEVER before.
    kept: int = NEVER
    #: When somebody was told that it is gone.
    gone: int = NEVER
    writes: dict[str, list[Write]] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    by_modseq: dict[int, frozenset[str]] = field(default_factory=dict)

    def write(self, flags: Iterable[str], write: Write) -> None:
        """Note a change of these flags."""
        for flag in flags:
            self.writes.setdefault(flag, []).append(write)

    def _first(self, flag: str) -> set[bool]:
        born = self.born
        if isinstance(born, frozenset):
            return {flag in born}
        if isinstance(born, tuple):
            return {flag in one for one in born}
        if isinstance(born, Copied):
            return {value for value in (True, False) if born.source.possible(flag, value, born.start, born.end)}
        return {True, False}

    def possible(self, flag: str, value: bool, start: int, end: int) -> bool:
        """Whether the flag can have had this value at some moment between these two."""
        writes = self.writes.get(flag, ())
        first = self._first(flag)
        causes = [write for write in writes if write.value is value and write.start < end]
        if value in first:
            # A beginning that is not known for sure ends never: nothing certainly follows it... but what is certain.
            causes.append(Write(-1, -1, value))
        against = [write for write in writes if write.value is not value and write.sure and write.end < start]
        return any(not any(other.start > cause.end for other in against) for cause in causes)

    def judge(self, where: str) -> None:
        """Raises Fault: something that was seen cannot be."""
        for read in self.reads:
            if read.if_there and self.gone != NEVER:
                continue
            flags = self.writes.keys() | read.flags | (self.born if isinstance(self.born, frozenset) else frozenset())
            for flag in flags if read.over is None else read.over:
                if not self.possible(flag, flag in read.flags, read.start, read.end):
                    raise Fault(
                        f"{where} UID {self.uid}: {flag} cannot be {flag in read.flags} in {read}; "
                        f"born {self.born}, {self.writes.get(flag)}"
                    )

    def settle(self, flags: frozenset[str]) -> None:
        """Everything is quiet and everyone agrees: forget what led here."""
        self.born = flags
        self.writes.clear()
        self.reads.clear()
