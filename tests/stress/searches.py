"""SEARCH and STATUS: answers that are compared with what is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.stress.actions import floors, ranges
from tests.stress.client import Command, Outcome
from tests.stress.history import Read
from tests.stress.responses import Fault, numbers
from tests.stress.view import View
from tests.stress.world import SHARED, World

__all__ = ["search_flag", "search_message", "search_uids", "status"]


def _found(view: View, outcome: Outcome, *, by_uid: bool) -> set[int]:
    """UIDs in the answer, SEARCH or ESEARCH; the view is still that of the answer if no EXPUNGE may come with it."""
    if len(answers := outcome.of("SEARCH") + outcome.of("ESEARCH")) != 1:
        raise Fault(f"{len(answers)} answers to SEARCH")
    (answer,) = answers
    if answer.kind == "SEARCH":
        words = [word for word in answer.data if not isinstance(word, list)]
        found = [int(word) for word in words]
    else:
        words = list(answer.data)
        found = numbers(words[words.index(b"ALL") + 1]) if b"ALL" in words else []
        if b"COUNT" in words and int(words[words.index(b"COUNT") + 1]) != len(found):
            raise Fault(f"ESEARCH counts wrongly: {words}")
        if (b"UID" in words) is not by_uid:
            raise Fault(f"UID in ESEARCH: {words}")
    if found != sorted(set(found)):
        raise Fault(f"SEARCH found {found}")
    if by_uid:
        return set(found)
    if found and found[-1] > len(view.entries):
        raise Fault(f"SEARCH found {found} of {len(view.entries)}")
    return {view.entries[number - 1].uid for number in found}


def _search(
    view: View, key: str, *, by_uid: bool, esearch: bool, check: Callable[[Outcome, set[int]], None]
) -> Command:
    returns = "RETURN (ALL COUNT) " if esearch else ""

    def done(outcome: Outcome) -> None:
        found = _found(view, outcome, by_uid=by_uid)
        for uid in found - {0}:
            if view.box.message(uid).gone < outcome.sent:
                raise Fault(f"SEARCH finds UID {uid}, which is gone")
        check(outcome, found)

    return Command(f"{'UID ' if by_uid else ''}SEARCH {returns}{key}".encode(), expunges=by_uid, done=done)


def search_flag(view: View, flag: str, *, by_uid: bool, esearch: bool, without: bool) -> Command:
    """Who has a flag, or has it not."""
    key = f"KEYWORD {flag}" if not flag.startswith("\\") else flag[1:].upper()
    key = key if not without else f"UN{key}" if flag != "$Junk" else f"NOT ({key})"
    known = [entry.uid for entry in view.entries if entry.uid]

    def check(outcome: Outcome, found: set[int]) -> None:
        now = view.world.tick()
        for uid in known:
            if uid in view.box.dead:
                continue
            have = frozenset({flag}) if (uid in found) is not without else frozenset[str]()
            read = Read(outcome.sent, now, have, frozenset({flag}), view.who, if_there=uid not in found)
            view.box.message(uid).reads.append(read)

    return _search(view, key, by_uid=by_uid, esearch=esearch, check=check)


def search_message(view: View, uid: int, how: str) -> Command:
    """One message by what stands in it; `how` is HEADER, BODY or TEXT."""
    name = view.box.message(uid).name
    key = f"HEADER Message-ID <{name}@stress" if how == "HEADER" else f"{how} token{name}x"

    def check(_: Outcome, found: set[int]) -> None:
        for other in found:
            if view.box.message(other).name not in (0, name):
                raise Fault(f"SEARCH {key} found message {view.box.message(other).name}")
        if uid not in found:
            view.world.missed(view.box, [uid], view.who)

    return _search(view, key, by_uid=True, esearch=False, check=check)


def search_uids(view: View, uids: Sequence[int], *, esearch: bool) -> Command:
    """Whether messages are there."""

    def check(_: Outcome, found: set[int]) -> None:
        if not found <= set(uids):
            raise Fault(f"SEARCH UID found {sorted(found - set(uids))}")
        view.world.missed(view.box, set(uids) - found, view.who)

    return _search(view, f"UID {ranges(uids)}", by_uid=True, esearch=esearch, check=check)


def status(world: World, name: str) -> Command:
    """STATUS: numbers that never fall."""
    uid_next, modseq = floors(world)

    def done(outcome: Outcome) -> None:
        if not outcome.ok:
            if name in SHARED:
                raise Fault(f"STATUS {name} got {outcome.tagged}")
            return
        (answer,) = outcome.of("STATUS")
        words = answer.data[1]
        values = {words[at].decode(): int(words[at + 1]) for at in range(0, len(words), 2)}
        box = world.opened(name, values["UIDVALIDITY"])
        box.told_uid_next(values["UIDNEXT"], uid_next.get(box.uid_validity, 0))
        box.told_modseq(values["HIGHESTMODSEQ"], modseq.get(box.uid_validity, 0))
        if values["UNSEEN"] > values["MESSAGES"] or values["MESSAGES"] >= values["UIDNEXT"]:
            raise Fault(f"STATUS {values}")

    text = f'STATUS "{name}" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)'
    return Command(text.encode(), done=done, allowed=("OK", "NO"))
