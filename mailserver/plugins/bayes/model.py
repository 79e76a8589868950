"""What was learned, as the database's thread works with it: judging a message and learning from one."""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections import OrderedDict
from dataclasses import dataclass, replace

from mailserver import api
from mailserver.plugins.bayes import database
from mailserver.plugins.bayes.counting import Part, count
from mailserver.plugins.bayes.database import EVERYBODY, Learned, Owner
from mailserver.plugins.bayes.memory import Memory
from mailserver.plugins.bayes.scoring import Clue, Side, Totals, judge
from mailserver.plugins.bayes.tokens import Hasher, Tokens

__all__ = ["MOST_OCTETS", "Lesson", "Model", "Opinion"]

#: Octets of a message that are looked at.
MOST_OCTETS = 256 << 10
#: Seconds until another look whether somebody else has learned.
_PAUSE = 1.0
#: Messages whose tokens are kept for their next recipient.
_MOST_JUDGED = 8
#: What an author writes above a message; it is the same in each copy.
_TOLD = frozenset((b"from", b"to", b"subject", b"date", b"message-id"))
_DAY = 86_400
_MOST_ODDS = 20_000


@dataclass(frozen=True, slots=True)
class Opinion:
    """`learned` are the messages of the kind of which fewer are known: the weight of it all."""

    score: float
    clues: list[Clue]
    learned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What somebody says of a message: junk or not. `account` "" teaches everybody and nobody in particular;
    `created` is when the account was made, `everybody` whether others learn from it."""

    account: str
    created: float
    octets: bytes
    junk: bool
    everybody: bool
    at: float


class Model:
    """For one database, and only in its thread. `shared`: what accounts learn, everybody learns."""

    def __init__(self, db: sqlite3.Connection, clock: api.Clock, *, shared: bool) -> None:
        self._clock = clock
        self._shared = shared
        self._hasher = Hasher(database.key_of(db))
        self._owners: dict[str, Owner] = {}
        self._memory = Memory()
        #: Of everybody, by counts, as long as the totals are these.
        self._odds: tuple[Totals, dict[int, float]] = Totals(), {}
        self._judged: OrderedDict[str, Tokens] = OrderedDict()
        self._version = -1
        self._noticed = -math.inf
        #: Messages of the kind of which fewer are known, to whoever knows most. Any thread may look at it.
        self.learned = 0
        self._notice_others(db)

    def judge(
        self, db: sqlite3.Connection, name: str, message: api.MessageView | bytes, account: str, created: float,
        hop: bytes = b"",
    ) -> Opinion:  # fmt: skip
        """What a message is like. `name`: the same for each recipient of a message. `hop`: see `mail_features`."""
        self._notice_others(db)
        everybody, own = self._owners.get(EVERYBODY), self._owners.get(account)
        if own is not None and own.since < created:
            own = None
        known = [owner.totals for owner in (everybody, own) if owner is not None]
        learned = max((totals.least for totals in known), default=0)
        if not learned:
            return Opinion(0.5, [], 0)
        tokens = self._tokens(name, message, hop)
        numbers = list(tokens)
        all_of_us = self._side(db, everybody, numbers)
        # Where one account taught all that everybody knows, its own counts say nothing else.
        if own is None or own.totals == all_of_us.totals:
            return Opinion(*judge(tokens, all_of_us), learned)
        # Nobody has tokens that not everybody has, but for what was learned under another setting.
        mine = self._side(db, own, list(all_of_us.rows) if self._shared else numbers)
        return Opinion(*judge(tokens, all_of_us, mine), learned)

    def learn(self, db: sqlite3.Connection, lesson: Lesson) -> bool:
        """Learn from a message; False: that was known. What it was taken for before is taken back."""
        message = _message_key(lesson.octets)
        numbers = list(self._hasher.tokens(api.mail_features(lesson.octets)))
        with api.transaction(db):
            owner = database.owner_of(db, lesson.account, lesson.at)
            if owner.since < lesson.created:
                # The address was given to another person.
                database.forget(db, owner, lesson.at)
            everybody = owner if lesson.account == EVERYBODY else database.owner_of(db, EVERYBODY, lesson.at)
            before = database.find_learned(db, owner.id, message) or Learned(lesson.junk)
            after = Learned(
                lesson.junk, own=True,
                everybody=lesson.account != EVERYBODY and (lesson.everybody or before.everybody),
            )  # fmt: skip
            if before == after:
                return False
            day = int(lesson.at) // _DAY
            own_step, own_changed = count(
                db, owner.id, owner.id, message, numbers, Part(before.junk, before.own, before.own_step),
                Part(after.junk, after.own), day,
            )  # fmt: skip
            everybody_step, all_changed = count(
                db, everybody.id, owner.id, message, numbers,
                Part(before.junk, before.everybody, before.everybody_step), Part(after.junk, after.everybody), day,
            )  # fmt: skip
            after = replace(after, own_step=own_step, everybody_step=everybody_step)
            database.note_learned(db, owner.id, message, after, lesson.at)
        self._look(db)
        self._memory.changed(owner.id, own_changed)
        self._memory.changed(everybody.id, all_changed)
        return True

    def forget(self, db: sqlite3.Connection, account: str, now: float) -> bool:
        """All that one owner learned; False: that was nothing."""
        owner = next((owner for owner in database.owners(db) if owner.account == account), None)
        if owner is None or owner.totals == Totals():
            return False
        with api.transaction(db):
            database.forget(db, owner, now)
        self.refresh(db)
        return True

    def refresh(self, db: sqlite3.Connection) -> None:
        """What is kept in memory is not true any more."""
        self._memory.clear()
        self._look(db)

    def _look(self, db: sqlite3.Connection) -> None:
        self._owners = {owner.account: owner for owner in database.owners(db)}
        self.learned = max((owner.totals.least for owner in self._owners.values()), default=0)

    def _notice_others(self, db: sqlite3.Connection) -> None:
        # While the plugin is loaded anew there are two models for a moment, and the old one may still learn.
        now = self._clock.monotonic()
        if now < self._noticed + _PAUSE:
            return
        self._noticed = now
        (version,) = db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self.refresh(db)

    def _tokens(self, name: str, message: api.MessageView | bytes, hop: bytes) -> Tokens:
        tokens = self._judged.get(name)
        if tokens is None:
            tokens = self._judged[name] = self._hasher.tokens(api.mail_features(message, hop))
            if len(self._judged) > _MOST_JUDGED:
                self._judged.popitem(last=False)
        return tokens

    def _side(self, db: sqlite3.Connection, owner: Owner | None, numbers: list[int]) -> Side:
        if owner is None:
            return Side({}, Totals())
        if owner.account != EVERYBODY:
            return Side(self._memory.rows(db, owner.id, numbers), owner.totals)
        totals, known = self._odds
        if totals != owner.totals or len(known) > _MOST_ODDS:
            known = {}
            self._odds = owner.totals, known
        return Side(self._memory.rows(db, owner.id, numbers), owner.totals, known)


def _message_key(octets: bytes) -> bytes:
    """How a message is known again, whichever copy of it: by what its author wrote."""
    told = hashlib.blake2b(digest_size=16)
    for name, start, end in api.header_fields(octets):
        if name in _TOLD:
            told.update(octets[start:end].rstrip(b"\r\n"))
    told.update(octets[api.header_block_end(octets) :])
    return told.digest()
