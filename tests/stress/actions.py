"""Commands on messages, made of what a view shows; each knows what its answer must be, and what it means to the model.

A command is made from the view at the moment before it is sent. By number only those messages are named whose UIDs the
client knows; commands by number are never sent after one that may bring an EXPUNGE, because their numbers would be
guesses (RFC 9051 §5.5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tests.stress.client import Command, Outcome
from tests.stress.history import NEVER, Copied, Message, Read, Write
from tests.stress.mail import content
from tests.stress.responses import Fault, numbers
from tests.stress.view import Entry, View
from tests.stress.world import DELETED, FLAGS, SHARED, World

__all__ = ["append", "close", "copy", "expunge", "fetch", "floors", "learn", "noop", "replace", "store"]

_IDENTITY = "UID FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"


def ranges(values: Iterable[int]) -> str:
    """Numbers as a sequence set."""
    out: list[list[int]] = []
    for value in sorted(values):
        if out and out[-1][1] == value - 1:
            out[-1][1] = value
        else:
            out.append([value, value])
    return ",".join(f"{low}:{high}" if low < high else f"{low}" for low, high in out)


def floors(world: World) -> tuple[dict[int, int], dict[int, int]]:
    """UIDNEXT and HIGHESTMODSEQ of all mailboxes, as somebody was told."""
    return (
        {validity: box.uid_next for validity, box in world.boxes.items()},
        {validity: box.modseq for validity, box in world.boxes.items()},
    )


class _Target:
    """The messages that a command names, by number or UID."""

    def __init__(self, view: View, uids: Sequence[int], *, by_uid: bool) -> None:
        self.view, self.uids, self.by_uid = view, set(uids), by_uid
        places = [at for at, entry in enumerate(view.entries) if entry.uid in self.uids]
        self.text = ranges(uids) if by_uid else ranges(at + 1 for at in places)
        self.prefix = "UID " if by_uid else ""

    def entries(self) -> list[Entry]:
        """Those that the client still counts."""
        return [entry for entry in self.view.entries if entry.uid in self.uids]

    def messages(self) -> list[Message]:
        """All of them."""
        return [self.view.box.message(uid) for uid in self.uids if uid not in self.view.box.dead]

    def must_tell(self, outcome: Outcome, told: set[int], *, without: Iterable[int] = ()) -> None:
        """Those that were not told of must be gone, and by number that must be said (RFC 2180 §4)."""
        lacking = self.uids - told - set(without)
        if lacking and not self.by_uid and outcome.ok and outcome.tagged.code != "MODIFIED":
            raise Fault(f"no answer for {sorted(lacking)}, and yet OK: {outcome.tagged}")
        self.view.world.missed(self.view.box, lacking, self.view.who)


def _told(outcome: Outcome, *items: str) -> set[int]:
    """UIDs of the FETCH responses that have these items."""
    return {one.data["uid"] for one in outcome.of("FETCH") if all(item in one.data for item in items)}


def learn(view: View, level: str) -> Command | None:
    """What a client asks as soon as it hears of new messages; None when all is known."""
    places = [
        at for at, entry in enumerate(view.entries)
        if not entry.uid or entry.flags is None or not view.box.message(entry.uid).name
    ]  # fmt: skip
    if not places:
        return None
    items = _IDENTITY + (" MODSEQ" if level in ("condstore", "qresync") else "")

    def done(outcome: Outcome) -> None:
        told = {one.number - 1 for one in outcome.of("FETCH") if "RFC822.SIZE" in one.data}
        lacking = [at for at in places if at not in told]
        if lacking and outcome.ok:
            raise Fault(f"no answer for messages {lacking}, and yet OK")
        view.world.missed(view.box, [view.entries[at].uid for at in lacking if view.entries[at].uid], view.who)

    text = f"FETCH {ranges(at + 1 for at in places)} ({items})"
    return Command(text.encode(), expunges=False, done=done, allowed=("OK", "NO"))


def fetch(
    view: View, uids: Sequence[int], *, by_uid: bool, items: str, since: int = 0, vanished: bool = False
) -> Command:
    """FETCH of `items`; `since`: CHANGEDSINCE."""
    target = _Target(view, uids, by_uid=by_uid)
    seen = not view.read_only and any(item in items.split() for item in ("BODY[]", "BODY[TEXT]"))
    started = view.world.tick()
    unchanged: set[int] = set()

    def begin(_: int) -> None:
        unchanged.update(entry.uid for entry in target.entries() if since and entry.modseq <= since)

    def done(outcome: Outcome) -> None:
        first = items.split()[0].replace(".PEEK", "").partition("<")[0]
        told = {one.data["uid"] for one in outcome.of("FETCH") if any(key.startswith(first) for key in one.data)}
        target.must_tell(outcome, told, without=unchanged)
        if seen:
            # It is set before the message is read: one that went between the two was \\Seen, and told to nobody.
            for message in target.messages():
                message.write(("\\Seen",), Write(outcome.sent, view.world.tick(), True, sure=message.uid in told))

    def lost() -> None:
        if seen:
            for message in target.messages():
                message.write(("\\Seen",), Write(started, NEVER, True, sure=False))

    modifier = f" (CHANGEDSINCE {since}{' VANISHED' if vanished else ''})" if since else ""
    text = f"{target.prefix}FETCH {target.text} ({items}){modifier}"
    return Command(text.encode(), expunges=by_uid, begin=begin, done=done, lost=lost, allowed=("OK", "NO"))


def store(
    view: View, uids: Sequence[int], how: str, flags: Sequence[str], *, by_uid: bool, silent: bool, unchanged: int = 0
) -> Command:
    """STORE; `how` is "+", "-" or "". `unchanged`: UNCHANGEDSINCE."""
    target = _Target(view, uids, by_uid=by_uid)
    started = view.world.tick()
    known: dict[int, int] = {}
    guessed: dict[int, tuple[frozenset[str], frozenset[str]]] = {}

    def begin(_: int) -> None:
        for entry in target.entries():
            known[entry.uid] = entry.modseq
            if silent and entry.flags is not None:
                # The server says nothing: the client works it out (RFC 9051 §6.4.6).
                after = {"+": entry.flags | {*flags}, "-": entry.flags - {*flags}, "": frozenset(flags)}[how]
                guessed[entry.uid] = entry.flags, after
                entry.flags = after

    def write(messages: Iterable[Message], end: int, *, sure: bool) -> None:
        for message in messages:
            if how:
                message.write(flags, Write(started, end, how == "+", sure))
            else:
                message.write(flags, Write(started, end, True, sure))
                message.write([flag for flag in FLAGS if flag not in flags], Write(started, end, False, sure))

    def done(outcome: Outcome) -> None:
        refused = _refused(view, target, outcome) if (outcome.tagged.code == "MODIFIED") else set()
        told = _told(outcome, "FLAGS")
        for entry in target.entries():
            if entry.uid in refused:
                if 0 < entry.modseq <= unchanged:
                    raise Fault(f"UID {entry.uid} is MODIFIED, and its MODSEQ is {entry.modseq}")
                if entry.uid in guessed and entry.uid not in told:
                    entry.flags = guessed[entry.uid][0]
            elif unchanged and known.get(entry.uid, 0) > unchanged and entry.uid in _told(outcome, "MODSEQ"):
                raise Fault(f"UID {entry.uid} was stored, and its MODSEQ was {known[entry.uid]} > {unchanged}")
        done_to = target.uids - refused
        write((one for one in target.messages() if one.uid in done_to), view.world.tick(), sure=True)
        if not silent:
            target.must_tell(outcome, told, without=refused)

    def lost() -> None:
        write(target.messages(), NEVER, sure=False)

    condition = f" (UNCHANGEDSINCE {unchanged})" if unchanged else ""
    text = f"{target.prefix}STORE {target.text}{condition} {how}FLAGS{'.SILENT' if silent else ''} ({' '.join(flags)})"
    return Command(text.encode(), expunges=by_uid, begin=begin, done=done, lost=lost, allowed=("OK", "NO"))


def _refused(view: View, target: _Target, outcome: Outcome) -> set[int]:
    named = numbers(outcome.tagged.argument)
    if target.by_uid:
        found = set(named)
    else:
        if max(named) > len(view.entries):
            raise Fault(f"MODIFIED {named} of {len(view.entries)}")
        found = {view.entries[number - 1].uid for number in named}
    if not found <= target.uids:
        raise Fault(f"MODIFIED {found - target.uids}, which were not named")
    return found


def expunge(view: View, uids: Sequence[int] | None) -> Command:
    """EXPUNGE, or UID EXPUNGE of these."""
    removal = view.world.removing(view.box, uids, marked=True)

    def done(outcome: Outcome) -> None:
        removal.end = now = view.world.tick()
        for entry in view.entries:
            if entry.uid and (uids is None or entry.uid in uids):
                read = Read(removal.start, now, frozenset(), frozenset({DELETED}), view.who, if_there=True)
                view.box.message(entry.uid).reads.append(read)

    return Command(b"EXPUNGE" if uids is None else b"UID EXPUNGE " + ranges(uids).encode(), done=done)


def close(view: View, done: Callable[[Outcome], None]) -> Command:
    """CLOSE: EXPUNGE without a word."""
    if view.read_only:
        return Command(b"CLOSE", done=done)
    removal = view.world.removing(view.box, None, marked=True)
    known = [entry.uid for entry in view.entries if entry.uid]

    def closed(outcome: Outcome) -> None:
        if outcome.tagged.code == "HIGHESTMODSEQ":
            raise Fault("HIGHESTMODSEQ with CLOSE (RFC 7162 §3.2.8)")
        removal.end = view.world.tick()
        for uid in known:
            if uid not in view.box.dead:
                read = Read(removal.start, removal.end, frozenset(), frozenset({DELETED}), view.who, if_there=True)
                view.box.message(uid).reads.append(read)
        done(outcome)

    return Command(b"CLOSE", expunges=False, done=closed)


def copy(view: View, uids: Sequence[int], destination: str, *, by_uid: bool, move: bool) -> Command:
    """COPY or MOVE."""
    world, target = view.world, _Target(view, uids, by_uid=by_uid)
    floor = floors(world)[0]
    start = world.tick()
    removal = world.removing(view.box, uids, marked=False) if move else None
    entries = {entry.uid: view.box.message(entry.uid) for entry in target.entries()}

    def done(outcome: Outcome) -> None:
        codes = [one.data for one in outcome.of("OK")] if move else [outcome.tagged]
        copyuid = next((one.argument for one in codes if one.code == "COPYUID"), None)
        if removal is not None:
            removal.end = world.tick()
        if not outcome.ok or copyuid is None:
            deleted = view.box.doomed and outcome.tagged.code == "NONEXISTENT"
            if not outcome.ok and not deleted and outcome.tagged.code not in _refusals(destination):
                raise Fault(f"COPY or MOVE got {outcome.tagged}")
            if outcome.ok:
                target.must_tell(outcome, set())
            if removal is not None:
                view.box.removals.remove(removal)
            return
        validity, source, made = copyuid.split()
        pairs = list(zip(numbers(source), numbers(made), strict=True))
        taken = {uid for uid, _ in pairs}
        if not taken <= target.uids:
            raise Fault(f"COPYUID {copyuid} names what was not copied")
        world.missed(view.box, target.uids - taken, view.who)
        end = world.tick()
        for uid, new in pairs:
            box = world.box(int(validity))
            born = Copied(entries[uid], start, end)
            world.made(box, new, entries[uid].name, born, floor=floor.get(box.uid_validity, 0), start=start)
        if removal is not None:
            removal.uids = frozenset(taken)
            world.told_gone(view.box, taken)

    def lost() -> None:
        for message in target.messages():
            world.perhaps(message.name, None)

    text = f'{target.prefix}{"MOVE" if move else "COPY"} {target.text} "{destination}"'
    return Command(text.encode(), done=done, lost=lost, allowed=("OK", "NO"))


def _refusals(destination: str) -> tuple[str, ...]:
    gone = ("EXPUNGEISSUED",)
    return gone if destination in SHARED else (*gone, "TRYCREATE", "NONEXISTENT")


def append(
    world: World, destination: str, count: int, flags: frozenset[str], *, wait: bool
) -> tuple[Command, list[bytes]]:
    """APPEND of one or more new messages; with `wait` the pieces that follow are sent when the server asks for them."""
    names = [world.new_name() for _ in range(count)]
    floor = floors(world)[0]
    start = world.tick()

    def done(outcome: Outcome) -> None:
        if not outcome.ok:
            if destination in SHARED or outcome.tagged.code != "TRYCREATE":
                raise Fault(f"APPEND got {outcome.tagged}")
            return
        validity, uids = outcome.tagged.argument.split()
        box = world.opened(destination, int(validity))
        given = numbers(uids)
        if outcome.tagged.code != "APPENDUID" or given != sorted(set(given)):
            raise Fault(f"APPENDUID {outcome.tagged}")
        for uid, name in zip(given, names, strict=True):
            world.made(box, uid, name, flags, floor=floor.get(box.uid_validity, 0), start=start)

    def lost() -> None:
        for name in names:
            world.perhaps(name, flags)

    shown = f" ({' '.join(sorted(flags))})" if flags else ""
    pieces = [f'APPEND "{destination}"'.encode()]
    for name in names:
        message = content(name)
        pieces[-1] += f"{shown} {{{len(message)}{'' if wait else '+'}}}".encode()
        pieces.append(message)
    text = pieces[0] if wait else b"\r\n".join(pieces)
    return Command(text, done=done, lost=lost, allowed=("OK", "NO")), pieces[1:] if wait else []


def replace(view: View, uid: int, destination: str, flags: frozenset[str], *, by_uid: bool) -> Command:
    """REPLACE (RFC 8508): a new message comes, this one goes, or neither."""
    world, target = view.world, _Target(view, [uid], by_uid=by_uid)
    name, floor, start = world.new_name(), floors(world)[0], world.tick()
    removal = world.removing(view.box, [uid], marked=False)

    def done(outcome: Outcome) -> None:
        removal.end = world.tick()
        if not outcome.ok:
            view.box.removals.remove(removal)
            if outcome.tagged.code not in ("EXPUNGEISSUED", "TRYCREATE", "NONEXISTENT", ""):
                raise Fault(f"REPLACE got {outcome.tagged}")
            if outcome.tagged.code != "TRYCREATE" and not view.box.doomed:
                world.missed(view.box, [uid], view.who)
            return
        codes = [one.data.argument for one in outcome.of("OK") if one.data.code == "APPENDUID"]
        if len(codes) != 1:
            raise Fault(f"REPLACE told {codes}")
        validity, new = map(int, codes[0].split())
        world.made(world.box(validity), new, name, flags, floor=floor.get(validity, 0), start=start)
        if uid in {entry.uid for entry in view.entries}:
            raise Fault(f"UID {uid} was replaced, and no EXPUNGE told")

    def lost() -> None:
        world.perhaps(name, flags)

    message = content(name)
    shown = f" ({' '.join(sorted(flags))})" if flags else ""
    text = f'{target.prefix}REPLACE {target.text} "{destination}"{shown} {{{len(message)}+}}\r\n'.encode() + message
    return Command(text, done=done, lost=lost, allowed=("OK", "NO"))


def noop(view: View | None) -> Command:
    """NOOP: afterwards the client knows all, so what its view shows is the truth of some moment meanwhile."""
    if view is None:
        return Command(b"NOOP")

    def done(outcome: Outcome) -> None:
        now = view.world.tick()
        known = {entry.uid for entry in view.entries}
        for entry in view.entries:
            if entry.uid and entry.flags is not None:
                read = Read(outcome.sent, now, entry.flags, None, f"{view.who}'s view")
                view.box.message(entry.uid).reads.append(read)
        if 0 not in known:
            lacking = [uid for uid, one in view.box.messages.items() if one.kept < outcome.sent and uid not in known]
            view.world.missed(view.box, lacking, view.who)

    return Command(b"NOOP", done=done)
