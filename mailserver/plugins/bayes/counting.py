"""One message in what one owner knows: counted, its weights moved, and taken back again. Within a transaction.

Who files a year of junk and then a year of good mail would be left with weights that know the good mail only. So each
message that is counted is followed by one of the other kind that was learned before, if the weights have come to be
wrong about it; some of each kind are kept for that. Which one follows comes from the message, and so is the same every
time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from mailserver.plugins.bayes import database
from mailserver.plugins.bayes.database import Example
from mailserver.plugins.bayes.scoring import learning_step, moves

__all__ = ["EXAMPLES", "Part", "count"]

#: Messages of each kind that an owner looks at again, and tokens of the longest of them: 4 KB for a usual one.
EXAMPLES = 500
_MOST_TOKENS = 1_500


@dataclass(frozen=True, slots=True)
class Part:
    """What a message is to an owner: of which kind, whether it is counted, and how far it moved the weights."""

    junk: bool
    counts: bool
    step: float = 0.0


def count(
    db: sqlite3.Connection, owner: int, learner: int, message: bytes, numbers: Sequence[int], was: Part, is_now: Part,
    day: int,
) -> tuple[float, list[int]]:  # fmt: skip
    """Take back what it was and count what it is now. How far it moves the weights; tokens whose rows are changed.

    Args:
        learner: the owner in whose name it is remembered.
    """
    if was.counts == is_now.counts and (was.junk == is_now.junk or not was.counts):
        return was.step, []
    if was.counts:
        _take_back(db, owner, numbers, was, day)
        database.drop_example(db, owner, message)
    if not is_now.counts:
        return 0.0, list(numbers)
    known = database.find(db, owner, numbers)
    step = learning_step(numbers, known, junk=is_now.junk)
    junk, good = int(is_now.junk), int(not is_now.junk)
    database.change(db, owner, moves(numbers, known, len(numbers), step), junk=junk, good=good, day=day)
    place = int.from_bytes(message[:4], "big") % EXAMPLES
    changed = list(numbers) + _look_again(db, owner, place, junk=not is_now.junk)
    if len(numbers) <= _MOST_TOKENS:
        database.keep_example(db, Example(owner, is_now.junk, place, learner, message, list(numbers)))
    return step, changed


def _take_back(db: sqlite3.Connection, owner: int, numbers: Sequence[int], was: Part, day: int) -> None:
    junk, good = int(was.junk), int(not was.junk)
    known = database.find(db, owner, numbers)
    # As the rows were before it came, so that the same weights move as far back.
    before = {number: (row[0] - junk, row[1] - good, row[2]) for number, row in known.items()}
    moved = moves(numbers, before, len(numbers), -was.step)
    database.change(db, owner, moved, junk=-junk, good=-good, day=day)


def _look_again(db: sqlite3.Connection, owner: int, place: int, *, junk: bool) -> list[int]:
    """At an example of this kind; tokens whose rows are changed."""
    example = database.find_example(db, owner, place, junk=junk)
    if example is None:
        return []
    known = database.find(db, owner, example.numbers)
    step = learning_step(example.numbers, known, junk=junk)
    if not step:
        return []
    database.move(db, owner, moves(example.numbers, known, len(example.numbers), step))
    database.note_step(db, example, step)
    return example.numbers
