"""One client's picture of the mailbox that it selected, made of nothing but what it was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.stress.history import Read
from tests.stress.mail import name_in, name_of
from tests.stress.responses import Fault, Untagged, numbers
from tests.stress.world import Box, World

__all__ = ["Entry", "Saved", "View"]


@dataclass(slots=True, eq=False)
class Entry:
    """A message as the client knows it. `uid` 0, `flags` None: not told yet. `told`: MODSEQ and flags, as told last."""

    uid: int = 0
    flags: frozenset[str] | None = None
    modseq: int = 0
    told: tuple[int, frozenset[str]] | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """What a client keeps for QRESYNC."""

    uid_validity: int
    modseq: int
    flags: dict[int, frozenset[str]]


@dataclass(slots=True)
class View:
    """`opening`: the answer to SELECT is still coming."""

    world: World
    who: str
    name: str
    read_only: bool
    #: What the client knows from before, if it asked for QRESYNC.
    saved: Saved | None = None
    box: Box = field(default_factory=lambda: Box(0))
    entries: list[Entry] = field(default_factory=list)
    opening: bool = True
    #: HIGHESTMODSEQ as RFC 7162 §6 has the client know it.
    modseq: int = 0
    #: The highest MODSEQ of FETCH responses, and HIGHESTMODSEQ in a code, since the last tagged response.
    fetched_modseq: int = 0
    coded_modseq: int = 0
    exists: int = -1
    more: int = 0
    codes: dict[str, str] = field(default_factory=dict)
    earlier: set[int] = field(default_factory=set)
    resynced: dict[int, Entry] = field(default_factory=dict)
    #: FETCH responses before SELECT was answered, to a client that gets no UID with a change of flags.
    unnamed: list[tuple[int, dict[str, Any], int]] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    # --- what the client is told

    def apply(self, response: Untagged, *, sent: int, expunges: bool, vanished: bool) -> None:
        """Take in an untagged response. `sent`: when the command was sent that it came with."""
        kind = response.kind
        if kind == "EXISTS":
            self._exists(response.number)
        elif kind == "EXPUNGE":
            if vanished:
                raise Fault("EXPUNGE after QRESYNC was enabled")
            self._allowed(expunges)
            self._expunged([self._at(response.number)])
        elif kind == "VANISHED":
            self._vanished(response.data, expunges=expunges, vanished=vanished)
        elif kind == "FETCH":
            self._fetched(response.number, response.data, sent)
        elif kind == "OK":
            self.codes[response.data.code] = response.data.argument
            if response.data.code == "HIGHESTMODSEQ" and not self.opening:
                self.coded_modseq = int(response.data.argument)

    def opened(self, sent_uid_next: dict[int, int], sent_modseq: dict[int, int]) -> None:
        """SELECT is complete."""
        validity = int(self.codes["UIDVALIDITY"])
        self.box = self.world.opened(self.name, validity)
        self.box.told_uid_next(int(self.codes["UIDNEXT"]), sent_uid_next.get(validity, 0))
        self.modseq = int(self.codes["HIGHESTMODSEQ"])
        self.box.told_modseq(self.modseq, sent_modseq.get(validity, 0))
        self.opening, self.fetched_modseq = False, 0
        if self.saved is None or self.saved.uid_validity != validity:
            if self.earlier:
                raise Fault("VANISHED (EARLIER) that was not asked for")
            self.entries = [Entry() for _ in range(self.exists)]
        else:
            self._resynchronize(self.saved)
        self.entries += [Entry() for _ in range(self.more)]
        if self.saved is None or self.saved.uid_validity != validity:
            # Others changed flags after the mailbox was described, and before SELECT was answered.
            for uid, number in self.numbers.items():
                self.entries[self._at(number)] = self.resynced[uid]
        for number, data, sent in self.unnamed:
            self._fetched(number, data, sent)

    def _resynchronize(self, saved: Saved) -> None:
        flags: dict[int, Entry] = {
            uid: Entry(uid, flags) for uid, flags in saved.flags.items() if uid not in self.earlier
        }
        for uid, entry in self.resynced.items():
            if uid in self.earlier:
                raise Fault(f"UID {uid} is VANISHED and changed")
            flags[uid] = entry
        if len(flags) != self.exists:
            raise Fault(
                f"after QRESYNC from {saved.modseq} {len(flags)} messages are known, and {self.exists} are there; "
                f"vanished {sorted(self.earlier)[-20:]}, new {sorted(self.resynced.keys() - saved.flags.keys())}"
            )
        self.entries = [flags[uid] for uid in sorted(flags)]
        for uid, number in self.numbers.items():
            if number > len(self.entries) or self.entries[number - 1].uid != uid:
                raise Fault(f"QRESYNC told UID {uid} as number {number}")

    def completed(self, code: str, argument: str) -> None:
        """A tagged response came (RFC 7162 §6)."""
        coded = int(argument) if code == "HIGHESTMODSEQ" else self.coded_modseq
        self.modseq = coded or max(self.modseq, self.fetched_modseq)
        self.fetched_modseq = self.coded_modseq = 0

    @property
    def complete(self) -> bool:
        """Whether all is known that a client keeps."""
        return all(entry.uid and entry.flags is not None for entry in self.entries)

    def save(self) -> Saved:
        """For QRESYNC; the view is complete."""
        return Saved(
            self.box.uid_validity, self.modseq,
            {entry.uid: entry.flags for entry in self.entries if entry.flags is not None},
        )  # fmt: skip

    def places(self, uids: set[int]) -> list[int]:
        """Positions of these UIDs, as far as they are known, ascending."""
        return [at for at, entry in enumerate(self.entries) if entry.uid in uids]

    # --- the responses

    def _at(self, number: int) -> int:
        if not 1 <= number <= len(self.entries):
            raise Fault(f"message number {number} of {len(self.entries)}")
        return number - 1

    def _exists(self, number: int) -> None:
        if self.opening:
            # The first one counts what is described; what comes later is told at the end of the command.
            self.exists = number if self.exists < 0 else self.exists
            self.more = number - self.exists
            return
        if number < len(self.entries):
            raise Fault(f"EXISTS fell from {len(self.entries)} to {number}")
        self.entries += [Entry() for _ in range(number - len(self.entries))]

    @staticmethod
    def _allowed(expunges: bool) -> None:
        if not expunges:
            raise Fault("EXPUNGE during FETCH, STORE or SEARCH by number, or while no command runs")

    def _expunged(self, places: list[int]) -> None:
        self.world.told_gone(self.box, [self.entries[at].uid for at in places if self.entries[at].uid])
        for at in sorted(places, reverse=True):
            del self.entries[at]

    def _vanished(self, data: list[Any], *, expunges: bool, vanished: bool) -> None:
        if not vanished:
            raise Fault("VANISHED without QRESYNC")
        uids = set(numbers(data[-1]))
        if data[0] == [b"EARLIER"]:
            if self.opening:
                self.earlier |= uids
            elif present := uids & {entry.uid for entry in self.entries}:
                raise Fault(f"VANISHED (EARLIER) {sorted(present)}, whose numbers the client still counts")
            return
        self._allowed(expunges)
        self.world.told_gone(self.box, uids)
        places = [at for at, entry in enumerate(self.entries) if entry.uid in uids]
        for uid in uids - {self.entries[at].uid for at in places}:
            places.append(self._unknown(uid, places))
        self._expunged(places)

    def _unknown(self, uid: int, taken: list[int]) -> int:
        """The place of a message that the client only counts. Raises Fault: there is none that could have this UID."""
        place = next((at for at, entry in enumerate(self.entries) if entry.uid > uid), len(self.entries)) - 1
        while place in taken and not self.entries[place].uid:
            place -= 1
        if place < 0 or self.entries[place].uid:
            raise Fault(f"VANISHED {uid} of {[entry.uid for entry in self.entries]}")
        return place

    def _fetched(self, number: int, data: dict[str, Any], sent: int) -> None:
        flags = None if "FLAGS" not in data else frozenset(flag.decode() for flag in data["FLAGS"])
        modseq = int(data["MODSEQ"][0]) if "MODSEQ" in data else 0
        if flags is not None and len(flags) != len(data["FLAGS"]):
            raise Fault(f"a flag twice: {data['FLAGS']}")
        self.fetched_modseq = max(self.fetched_modseq, modseq)
        if self.opening and "UID" not in data:
            self.unnamed.append((number, data, sent))
            return
        if self.opening:
            uid = int(data["UID"])
            self.resynced[uid] = Entry(uid, flags, modseq)
            self.numbers[uid] = number
            return
        at = self._at(number)
        entry = self.entries[at]
        if "UID" in data:
            self._known_as(at, int(data["UID"]))
        if entry.modseq and modseq and (modseq < entry.modseq):
            raise Fault(f"MODSEQ of UID {entry.uid} fell from {entry.modseq} to {modseq}")
        if flags is not None and modseq:
            if entry.told is not None and entry.told[0] == modseq and entry.told[1] != flags:
                raise Fault(f"flags of UID {entry.uid} changed at MODSEQ {modseq}: {entry.told[1]} → {flags}")
            entry.told = modseq, flags
        entry.modseq = modseq or entry.modseq
        if flags is not None:
            entry.flags = flags
        # For those who ask later which message this was: its number may have changed by then.
        data["uid"] = entry.uid
        if entry.uid:
            self._checked(entry.uid, data, flags, modseq, sent)

    def _known_as(self, at: int, uid: int) -> None:
        entry = self.entries[at]
        if entry.uid and entry.uid != uid:
            raise Fault(f"message {at + 1} was UID {entry.uid} and is {uid}")
        before = next((other.uid for other in reversed(self.entries[:at]) if other.uid), 0)
        after = next((other.uid for other in self.entries[at + 1 :] if other.uid), uid + 1)
        if not before < uid < after:
            raise Fault(f"UIDs are not ascending at message {at + 1}: {before} {uid} {after}")
        entry.uid = uid

    def _checked(self, uid: int, data: dict[str, Any], flags: frozenset[str] | None, modseq: int, sent: int) -> None:
        """Compare with what everyone else knows."""
        message = self.box.message(uid)
        if message.gone < sent:
            raise Fault(f"UID {uid} was told to be gone at {message.gone}, and is told of in answer to {sent}")
        if flags is not None:
            message.reads.append(Read(sent, self.world.tick(), flags, None, self.who))
            if modseq and message.by_modseq.setdefault(modseq, flags) != flags:
                raise Fault(f"UID {uid} at MODSEQ {modseq}: {message.by_modseq[modseq]} and {flags}")
        self.box.modseq = max(self.box.modseq, modseq)
        name = 0
        for item, value in list(data.items()):
            if item == "BODY[]":
                name = name_of(value)
                if message.size not in (0, len(value)):
                    raise Fault(f"UID {uid}: BODY[] has {len(value)} octets, RFC822.SIZE was {message.size}")
            elif item.startswith("BODY[HEADER"):
                name = name_in(value)
            elif item == "BODY[TEXT]" and message.name and f"{message.name}-".encode() != value.split(b"-")[0] + b"-":
                raise Fault(f"BODY[TEXT] of message {message.name}: {value[:100]!r}")
            elif item == "ENVELOPE":
                name = name_in(b"Message-ID: " + value[9])
                if value[1] != f"stress {name}".encode():
                    raise Fault(f"ENVELOPE of {name} has the subject {value[1]!r}")
            if name:
                self.world.met(self.box, uid, name, len(value) if item == "BODY[]" else 0)
        if "RFC822.SIZE" in data or "INTERNALDATE" in data:
            self.world.met(self.box, uid, 0, int(data.get("RFC822.SIZE", 0)), data.get("INTERNALDATE", b""))
