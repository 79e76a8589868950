"""The classifier as a plugin: who teaches it what, what that weighs, and what it says."""

from __future__ import annotations

import asyncio
import base64
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailserver import api
from mailserver.plugins.bayes import counting, database, ledger, memory, scoring
from mailserver.plugins.bayes.database import EVERYBODY, open_database
from mailserver.plugins.bayes.judging import reason_of
from mailserver.plugins.bayes.model import Lesson, Model, Opinion
from mailserver.plugins.bayes.scoring import Clue, Totals
from mailserver.plugins.bayes.settings import BayesSettings
from tests.helpers.clock import FakeClock
from tests.helpers.judging import ANNA, BEN, delivering, text
from tests.helpers.plugins import Server, alone, running

JUNK = "Buy cheap pills now, the best offer of the year: click here http://pills.example/now"
GOOD = "The minutes of our meeting on Monday are ready, see you at the station"
NOW = 1_800_000_000.0


def junk(number: int = 0, body: str = JUNK) -> bytes:
    return text("Shop <shop@pills.example>", f"{body} {number}", Message_ID=f"<j{number}@x>")


def good(number: int = 0, body: str = GOOD) -> bytes:
    return text("Bob <bob@far.test>", f"{body} {number}", Message_ID=f"<g{number}@x>")


# The model.


@pytest.fixture
def db(tmp_path: Path) -> Any:
    opened = open_database(tmp_path / "bayes.db")
    yield opened
    opened.close()


def lesson(octets: bytes, *, is_junk: bool, account: str = "anna", everybody: bool = True) -> Lesson:
    return Lesson(account=account, created=0.0, octets=octets, junk=is_junk, everybody=everybody, at=NOW)


def totals(db: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    return {owner.account: (owner.totals.junk, owner.totals.good) for owner in database.owners(db)}


def counts(db: sqlite3.Connection) -> list[tuple[int, ...]]:
    return db.execute("SELECT owner, number, junk, good FROM token WHERE junk + good > 0 ORDER BY 1, 2").fetchall()


def test_a_message_counts_once_and_may_change_sides(db: sqlite3.Connection) -> None:
    it = Model(db, FakeClock(), shared=True)
    assert it.learn(db, lesson(good(), is_junk=False))
    before = counts(db)
    assert it.learn(db, lesson(junk(), is_junk=True))
    after = counts(db)
    # Another copy of it, with other fields on top.
    assert not it.learn(db, lesson(b"Received: from x\r\n" + junk(), is_junk=True))
    assert counts(db) == after
    assert totals(db) == {"": (1, 1), "anna": (1, 1)}
    assert it.learn(db, lesson(junk(), is_junk=False))
    assert totals(db) == {"": (0, 2), "anna": (0, 2)}
    assert all(junked == 0 for _, _, junked, _ in counts(db))
    assert it.learn(db, lesson(junk(), is_junk=True))
    assert counts(db) == after
    assert len(before) < len(after)


def test_nothing_is_half_learned(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Model(db, FakeClock(), shared=True)
    it.learn(db, lesson(good(), is_junk=False))
    before = counts(db), totals(db)

    def fails(*arguments: Any) -> None:
        raise sqlite3.OperationalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(database, "note_learned", fails)
        with pytest.raises(sqlite3.OperationalError):
            it.learn(db, lesson(junk(), is_junk=True))
    assert (counts(db), totals(db)) == before
    assert it.learn(db, lesson(junk(), is_junk=True))


def test_each_account_has_its_own_counts_and_all_have_those_of_everybody(db: sqlite3.Connection) -> None:
    it = Model(db, FakeClock(), shared=True)
    for number in range(20):
        it.learn(db, lesson(junk(number), is_junk=True))
        it.learn(db, lesson(good(number), is_junk=False))
    assert it.judge(db, "1", junk(99), "anna", 0.0).score > 0.9
    opinion = it.judge(db, "2", junk(99), "ben", 0.0)
    assert opinion.score > 0.9
    assert opinion.learned == 20
    # Ben wants what Anna does not.
    for number in range(200):
        it.learn(db, lesson(junk(1000 + number), is_junk=False, account="ben", everybody=False))
        it.learn(db, lesson(good(1000 + number), is_junk=True, account="ben", everybody=False))
    assert it.judge(db, "3", junk(99), "ben", 0.0).score < 0.1
    assert it.judge(db, "4", junk(99), "anna", 0.0).score > 0.9
    assert totals(db) == {"": (20, 20), "anna": (20, 20), "ben": (200, 200)}


def test_what_an_account_keeps_for_itself_counts_for_it_alone(db: sqlite3.Connection) -> None:
    it = Model(db, FakeClock(), shared=False)
    for number in range(20):
        it.learn(db, lesson(junk(number), is_junk=True, everybody=False))
        it.learn(db, lesson(good(number), is_junk=False, everybody=False))
    assert it.judge(db, "1", junk(99), "anna", 0.0).score > 0.9
    assert it.judge(db, "2", junk(99), "ben", 0.0) == Opinion(0.5, [], 0)


def test_an_account_is_forgotten_and_no_message_counts_twice_for_everybody(db: sqlite3.Connection) -> None:
    it = Model(db, FakeClock(), shared=True)
    it.learn(db, lesson(junk(), is_junk=True))
    it.learn(db, lesson(good(), is_junk=False, everybody=False))
    assert it.forget(db, "anna", NOW)
    assert not it.forget(db, "anna", NOW)
    assert not it.forget(db, "nobody", NOW)
    assert totals(db) == {"": (1, 0), "anna": (0, 0)}
    assert it.learn(db, lesson(junk(), is_junk=True))
    assert totals(db) == {"": (1, 0), "anna": (1, 0)}
    assert it.forget(db, EVERYBODY, NOW)
    assert totals(db) == {"": (0, 0), "anna": (1, 0)}
    assert it.learn(db, lesson(junk(), is_junk=True))
    assert totals(db) == {"": (1, 0), "anna": (1, 0)}
    assert it.learn(db, lesson(junk(), is_junk=False))
    assert totals(db) == {"": (0, 1), "anna": (0, 1)}


def test_an_address_that_is_given_to_another_person_starts_anew(db: sqlite3.Connection) -> None:
    it = Model(db, FakeClock(), shared=False)
    for number in range(5):
        it.learn(db, lesson(junk(number), is_junk=True, everybody=False))
        it.learn(db, lesson(good(number), is_junk=False, everybody=False))
    assert it.judge(db, "1", junk(9), "anna", 0.0).learned == 5
    assert it.judge(db, "2", junk(9), "anna", NOW + 1).learned == 0
    it.learn(db, Lesson(account="anna", created=NOW + 1, octets=junk(50), junk=True, everybody=False, at=NOW + 2))
    assert totals(db)["anna"] == (1, 0)


def test_everybody_can_be_taught_directly(db: sqlite3.Connection) -> None:
    it = Model(db, FakeClock(), shared=True)
    for number in range(10):
        assert it.learn(db, lesson(junk(number), is_junk=True, account=EVERYBODY))
        assert it.learn(db, lesson(good(number), is_junk=False, account=EVERYBODY))
    assert not it.learn(db, lesson(good(), is_junk=False, account=EVERYBODY))
    assert totals(db) == {"": (10, 10)}
    assert it.judge(db, "1", junk(99), "anna", 0.0).score > 0.9


def test_what_is_kept_in_memory_is_what_is_on_disk(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    it = Model(db, clock, shared=True)
    for number in range(10):
        it.learn(db, lesson(junk(number), is_junk=True))
        it.learn(db, lesson(good(number), is_junk=False))
    first = it.judge(db, "1", junk(99), "ben", 0.0)
    assert it.judge(db, "2", junk(99), "ben", 0.0) == first
    for number in range(5):
        it.learn(db, lesson(junk(number), is_junk=False, account="carl"))
    second = it.judge(db, "2", junk(99), "ben", 0.0)
    assert second.score < first.score
    # The plugin is loaded anew, and the old one learns once more.
    other = open_database(tmp_path / "bayes.db")
    Model(other, FakeClock(), shared=True).learn(other, lesson(junk(50), is_junk=False, account="dora"))
    other.close()
    clock.advance(1.0)
    assert it.judge(db, "3", junk(99), "ben", 0.0).score < second.score
    # So few rows in memory that tokens of one message take each other's places.
    third = it.judge(db, "4", junk(99), "ben", 0.0)
    monkeypatch.setattr(memory, "_KEPT", 8)
    it.refresh(db)
    for name in range(20):
        assert it.judge(db, f"n{name}", junk(99), "ben", 0.0) == third
        assert len(it._memory._keys) == 8
        assert len(it._judged) <= 8


def weights(db: sqlite3.Connection) -> dict[int, int]:
    return dict(db.execute("SELECT number, weight FROM token WHERE owner = 1 AND junk + good > 0"))


def test_what_is_taken_back_moves_no_weight(db: sqlite3.Connection) -> None:
    it = Model(db, FakeClock(), shared=False)
    for number in range(4):
        it.learn(db, lesson(junk(number), is_junk=True, account=EVERYBODY))
        it.learn(db, lesson(good(number), is_junk=False, account=EVERYBODY))
    before = weights(db), it.judge(db, "1", junk(99), "anna", 0.0)
    odd = good(77, "something else entirely, of trains and timetables")
    it.learn(db, lesson(odd, is_junk=True, account=EVERYBODY))
    assert it.judge(db, "2", odd, "anna", 0.0).score > 0.5
    it.learn(db, lesson(odd, is_junk=False, account=EVERYBODY))
    assert it.judge(db, "3", odd, "anna", 0.0).score < 0.5
    taught = weights(db)
    # To and fro, again and again: nothing adds up.
    for _ in range(10):
        it.learn(db, lesson(odd, is_junk=True, account=EVERYBODY))
        it.learn(db, lesson(odd, is_junk=False, account=EVERYBODY))
    assert max(abs(weights(db)[number] - weight) for number, weight in taught.items()) < scoring.UNIT // 10
    assert abs(it.judge(db, "4", junk(99), "anna", 0.0).score - before[1].score) < 0.1


def test_the_same_lessons_give_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda size: b"k" * size)
    found = []
    for name in "ab":
        db = open_database(tmp_path / name)
        it = Model(db, FakeClock(), shared=True)
        for number in range(12):
            it.learn(db, lesson(junk(number), is_junk=True))
            it.learn(db, lesson(good(number), is_junk=False))
        found.append((weights(db), it.judge(db, "1", junk(99), "anna", 0.0)))
        db.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("first", [True, False])
def test_all_of_one_kind_may_be_taught_first(db: sqlite3.Connection, first: bool) -> None:
    it = Model(db, FakeClock(), shared=True)
    for is_junk in (first, not first):
        for number in range(40):
            octets = junk(number, f"{JUNK} {number * 7}") if is_junk else good(number, f"{GOOD} {number * 7}")
            it.learn(db, lesson(octets, is_junk=is_junk))
    assert it.judge(db, "1", junk(99), "ben", 0.0).score > 0.9
    assert it.judge(db, "2", good(99), "ben", 0.0).score < 0.1


def test_examples_are_bounded_and_go_with_their_owner(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "EXAMPLES", 5)
    it = Model(db, FakeClock(), shared=True)
    for number in range(60):
        it.learn(db, lesson(junk(number), is_junk=True))
        it.learn(db, lesson(good(number), is_junk=False))
    def kept() -> dict[int, int]:
        return dict(db.execute("SELECT owner, count(*) FROM example GROUP BY owner"))

    assert set(kept().values()) == {10}
    it.learn(db, lesson(junk(99, " ".join(f"w{i}" for i in range(2000))), is_junk=True))
    assert max(len(numbers) for (numbers,) in db.execute("SELECT numbers FROM example")) <= 8 * 1500
    it.forget(db, "anna", NOW)
    assert sum(kept().values()) == 10
    # One of another kind now is no example of what it was.
    for number in range(60):
        it.learn(db, lesson(junk(number), is_junk=False, account=EVERYBODY))
    database.forget_examples(db)
    assert sum(kept().values()) == 10


def test_a_database_of_version_1_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "bayes.db"
    db = open_database(path)
    it = Model(db, FakeClock(), shared=True)
    for number in range(30):
        it.learn(db, lesson(junk(number), is_junk=True))
        it.learn(db, lesson(good(number), is_junk=False))
    for statement in (
        "DROP TABLE example", "ALTER TABLE token DROP COLUMN weight", "ALTER TABLE learned DROP COLUMN own_step",
        "ALTER TABLE learned DROP COLUMN everybody_step", "PRAGMA user_version=1",
    ):
        db.execute(statement)
    db.close()
    db = open_database(path)
    it = Model(db, FakeClock(), shared=True)
    assert not path.with_name("bayes.db.damaged").exists()
    assert it.judge(db, "1", junk(99), "ben", 0.0).score > 0.9
    assert it.judge(db, "2", good(99), "ben", 0.0).score < 0.1
    # It goes on, and what was learned before is known.
    assert not it.learn(db, lesson(junk(3), is_junk=True))
    assert it.learn(db, lesson(junk(3), is_junk=False))
    assert totals(db) == {"": (29, 31), "anna": (29, 31)}
    db.close()


def test_a_damaged_database_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "bayes.db"
    path.write_bytes(b"no database at all" * 100)
    open_database(path).close()
    assert path.with_name("bayes.db.damaged").exists()


def test_numbers_that_nobody_knows_are_not_asked_for(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Model(db, FakeClock(), shared=True)
    for number in range(10):
        it.learn(db, lesson(junk(number), is_junk=True))
        it.learn(db, lesson(good(number), is_junk=False))
    it.judge(db, "1", junk(99), "ben", 0.0)
    asked = 0
    original = database.find

    def counted(db: sqlite3.Connection, owner: int, numbers: Any) -> Any:
        nonlocal asked
        asked += len(numbers)
        return original(db, owner, numbers)

    monkeypatch.setattr(database, "find", counted)
    it.judge(db, "2", junk(99, " ".join(f"new{i}" for i in range(1000))), "ben", 0.0)
    # 2,000 new numbers, some of which fall where a known one does.
    assert asked < 60


def test_the_table_of_known_numbers_grows(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_LEAST_PLACES", 64)
    it = Model(db, FakeClock(), shared=True)
    for number in range(20):
        it.learn(db, lesson(junk(number), is_junk=True))
        it.learn(db, lesson(good(number), is_junk=False))
        first = it.judge(db, f"a{number}", junk(number), "ben", 0.0)
        it.refresh(db)
        assert it.judge(db, f"a{number}", junk(number), "ben", 0.0) == first
    assert len(it._memory._places) >= 4 * len(counts(db)) // 2


def test_numbers_are_no_words_and_the_file_is_for_its_owner_alone(db: sqlite3.Connection, tmp_path: Path) -> None:
    it = Model(db, FakeClock(), shared=True)
    it.learn(db, lesson(junk(), is_junk=True))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / "bayes.db"
    octets = path.read_bytes()
    assert b"pills" not in octets
    assert b"shop" not in octets
    assert path.stat().st_mode & 0o077 == 0


# Forgetting.


async def test_rare_old_tokens_are_forgotten_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_SLICE", 500)
    monkeypatch.setattr(ledger, "_STEP_PAUSE", 0.0)
    clock = FakeClock()
    async with ledger.open_ledger(tmp_path / "b.db", clock, BayesSettings(max_size=1 << 20)) as it:
        for number in range(40):
            flood = " ".join(f"rare{number}x{i}" for i in range(800))
            at = clock.time() - (200 - number) * 86_400
            for body, is_junk in ((f"often seen {flood}", True), ("often wanted", False)):
                octets = junk(number, body)
                assert await it.learn(
                    Lesson(account="anna", created=0.0, octets=octets, junk=is_junk, everybody=True, at=at)
                )
        assert (await it.owners())[1] > 2 << 20
        await it.tidy()
        found, size = await it.owners()
        assert size <= 0.9 * (1 << 20)
        assert [owner.totals for owner in found] == [Totals(40, 40)] * 2
        assert (await it.judge("1", junk(99, "often seen"), "anna", 0.0)).score > 0.8
        assert (await it.judge("2", junk(99, "often wanted"), "anna", 0.0)).score < 0.2
        await it.tidy()
        assert (await it.owners())[1] == size


async def test_of_too_many_messages_the_oldest_are_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_MOST_REMEMBERED", 3)
    def one(number: int, at: float) -> Lesson:
        return Lesson(account="anna", created=0.0, octets=junk(number), junk=True, everybody=False, at=at)

    async with ledger.open_ledger(tmp_path / "b.db", FakeClock(), BayesSettings()) as it:
        for number in range(5):
            assert await it.learn(one(number, number))
        await it.tidy()
        assert not await it.learn(one(4, 9.0))
        assert await it.learn(one(0, 9.0))


# Points and words.


@pytest.mark.parametrize(
    ("score", "learned", "points"),
    [
        (0.5, 1000, None), (0.89, 1000, None), (0.11, 1000, None), (0.9, 1000, 2.4), (0.99, 1000, 5.0),
        (0.9999, 1000, 6.0), (1.0, 1000, 6.0), (0.99, 200, 5.0), (0.99, 100, 2.5), (0.99, 20, 0.5), (0.99, 19, None),
        (0.99, 0, None), (0.01, 1000, -2.0), (0.0, 1000, -2.0), (0.1, 1000, -1.0), (0.01, 100, -1.0),
    ],
)  # fmt: skip
def test_points(score: float, learned: int, points: float | None) -> None:
    reason = reason_of(Opinion(score, [], learned), BayesSettings())
    assert (reason.points if reason is not None else None) == points


def test_words() -> None:
    clues = [
        Clue(0.99, ("cheap", "pills")), Clue(-1.5, ("meeting",)), Clue(0.98, ("\0link pills.example",)),
        Clue(0.975, ("pills",)), Clue(0.97, ("\0part text/html",)), Clue(0.96, ("subject:best", "subject:offer")),
        Clue(0.95, ("\0link word x",)), Clue(0.945, ("\0field X-Mailer",)),
        Clue(0.94, ("\0from shop@pills.example",)), Clue(0.93, ("\0link to an address",)), Clue(0.92, ("bad\x07word",)),
        Clue(0.9, ("more",)),
    ]  # fmt: skip
    reason = reason_of(Opinion(0.99, clues, 1000), BayesSettings())
    assert reason is not None
    assert reason.text == (
        "It reads like mail that was filed as junk, most of all by “cheap pills”, a link to pills.example,"
        " “best offer”, the sender shop@pills.example"
    )
    assert "move it out of Junk" in reason.advice
    # Of equal ones the longest, and one sender is enough.
    names = ("of", "\0from a@b.example", "\0from b.example", "viagra", "we", "it", "to")
    clues = [Clue(0.98, (word,)) for word in names]
    equal = reason_of(Opinion(0.99, clues, 1000), BayesSettings())
    assert equal is not None
    assert equal.text.endswith("most of all by the sender a@b.example, “viagra”, “we”, “to”")
    clues = [Clue(-0.01, ("meeting",)), Clue(0.9, ("cheap",))]
    reason = reason_of(Opinion(0.01, clues, 1000), BayesSettings())
    assert reason is not None
    assert reason.text == "It reads like mail that was wanted, most of all by “meeting”"


# The plugin in a running server.


class World:
    """Mail comes, and Anna does something with it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._asked = 0

    async def put(self, octets: bytes, mailbox: str, account: api.AccountId = ANNA) -> int:
        async with self.server.store.begin() as content:
            await content.write(b"Return-Path: <x@y>\r\nReceived: from far.test ([192.0.2.7])\r\n" + octets)
            (await self.server.store.open_account(account))
            (stored,) = await self.server.store.commit(content, [api.Target(account=account, mailbox=mailbox)])
        uid: int = stored.uid  # type: ignore[union-attr]
        return uid

    async def move(self, uid: int, source: str, target: str, account: api.AccountId = ANNA) -> int:
        store = await self.server.store.open_account(account)
        async with store.open(source) as mailbox:
            result = await mailbox.move([uid], target)
        self.server.hooks.emit(
            api.Moved(
                account=account, mailbox=target, uids=api.NumSet.from_numbers(result.target), source_account=account,
                source=source,
            )
        )  # fmt: skip
        await self.settle()
        return int(next(iter(result.target)))

    async def flag(self, uid: int, mailbox: str, flag: str, how: api.FlagChange = api.FlagChange.ADD) -> None:
        self.server.hooks.emit(
            api.FlagsChanged(
                account=ANNA, mailbox=mailbox, uids=api.NumSet.from_numbers([uid]), how=how, flags=frozenset({flag})
            )
        )
        await self.settle()

    async def settle(self) -> None:
        for group in self.server.hooks._observers.values():
            for observer in group:
                while observer._busy:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    async def operation(self, name: str, **arguments: Any) -> Any:
        (found,) = [one for one in self.server.hooks.contributions("operation") if one.name == f"bayes.{name}"]
        return await found.value(arguments)

    async def learned(self) -> dict[str, tuple[int, int]]:
        rows = (await self.operation("show"))["owners"]
        return {row["account"]: (row["junk"], row["good"]) for row in rows}

    async def score(self, octets: bytes, to: api.AccountId = ANNA, **session: Any) -> float:
        self._asked += 1
        ctx = replace(delivering(octets, to=to, **session), queue_id=api.QueueId(f"q{self._asked}"))
        return (await self.server.hooks.delivery(ctx)).findings.score


@asynccontextmanager
async def world(tmp_path: Path, **settings: Any) -> AsyncIterator[World]:
    sections = alone("accounts", bayes=settings)
    async with running(tmp_path, sections=sections, order=("accounts", "bayes")) as server:
        for account in (ANNA, BEN):
            if server.directory.account(account) is None:
                await server.add(account)
            await server.store.open_account(account)
        yield World(server)


async def test_what_is_put_into_junk_and_taken_out_teaches(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        uid = await it.move(await it.put(junk(), "INBOX"), "INBOX", "Junk")
        assert await it.learned() == {"": (1, 0), ANNA: (1, 0)}
        uid = await it.move(uid, "Junk", "INBOX")
        assert await it.learned() == {"": (0, 1), ANNA: (0, 1)}
        uid = await it.move(uid, "INBOX", "Junk")
        # Thrown away it stays what it was.
        uid = await it.move(uid, "Junk", "Trash")
        await it.move(uid, "Trash", "Junk")
        assert await it.learned() == {"": (1, 0), ANNA: (1, 0)}


async def test_what_else_teaches_and_what_does_not(tmp_path: Path) -> None:
    async with world(tmp_path, shared=False) as it:
        store = await it.server.store.open_account(ANNA)
        await store.create("Work")
        await store.create("Rejects")
        await it.move(await it.put(good(1), "INBOX"), "INBOX", "Trash")
        await it.move(await it.put(good(2), "Work"), "Work", "INBOX")
        uid = await it.put(good(3), "INBOX")
        await it.flag(uid, "INBOX", "\\Seen")
        await it.flag(uid, "INBOX", "$Junk", api.FlagChange.REMOVE)
        assert await it.learned() == {}
        await it.flag(uid, "INBOX", "$Junk")
        assert await it.learned() == {"": (0, 0), ANNA: (1, 0)}
        await it.flag(uid, "INBOX", "NonJunk")
        assert await it.learned() == {"": (0, 0), ANNA: (0, 1)}
        await it.flag(await it.put(good(4), "INBOX"), "INBOX", "\\Answered")
        await it.move(await it.put(good(5), "INBOX"), "INBOX", "Work")
        await it.move(await it.put(good(6), "INBOX"), "INBOX", "Archive")
        await it.move(await it.put(good(7), "Rejects"), "Rejects", "INBOX")
        assert await it.learned() == {"": (0, 0), ANNA: (0, 5)}


async def test_a_message_like_those_in_junk_gets_points(tmp_path: Path) -> None:
    async with world(tmp_path, enough=10) as it:
        assert await it.score(junk(99)) == 0.0
        for number in range(10):
            await it.move(await it.put(junk(number), "INBOX"), "INBOX", "Junk")
            await it.move(await it.put(good(number), "INBOX"), "INBOX", "Archive")
        assert await it.score(junk(99)) >= 2.4
        assert await it.score(good(99)) <= -0.9
        # Others learn from it, too; who is trusted is not judged.
        assert await it.score(junk(99), BEN) >= 2.4
        assert await it.score(junk(99), trusted=True) == 0.0
        assert await it.score(junk(99), service="submission", account=BEN) == 0.0
        found = await it.server.hooks.delivery(delivering(junk(98)))
        (reason,) = found.findings.reasons
        assert reason.check == "bayes"
        assert "pills" in reason.text


async def test_an_account_teaches_only_so_much_a_day(tmp_path: Path) -> None:
    async with world(tmp_path, most_a_day=2) as it:
        for number in range(4):
            await it.move(await it.put(junk(number), "INBOX"), "INBOX", "Junk")
        assert (await it.learned())[ANNA] == (2, 0)
        it.server.clock.advance(2 * 86_400)
        await it.move(await it.put(junk(9), "INBOX"), "INBOX", "Junk")
        assert (await it.learned())[ANNA] == (3, 0)


async def test_the_database_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, enough=10) as it:
        def fails(*arguments: Any) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(database, "owner_of", fails)
        await it.move(await it.put(junk(1), "INBOX"), "INBOX", "Junk")
        monkeypatch.setattr(Model, "judge", fails)
        assert await it.score(junk(2)) == 0.0


async def test_operations(tmp_path: Path) -> None:
    async with world(tmp_path, enough=10) as it:
        for number in range(3):
            await it.put(junk(number), "Junk")
        done = await it.operation("train", account=ANNA, junk=True, mailbox="Junk")
        assert (done["learned"], done["known"], done["more"]) == (3, 0, False)
        done = await it.operation("train", account=ANNA, junk=True, mailbox="Junk", after=0)
        assert (done["learned"], done["known"]) == (0, 3)
        given = [base64.b64encode(good(number)).decode() for number in range(2)]
        assert (await it.operation("train", account="", junk=False, messages=given))["learned"] == 2
        assert await it.learned() == {"": (3, 2), ANNA: (3, 0)}
        rows = (await it.operation("show"))["owners"]
        assert [row["weight"] for row in rows] == [0.2, 0.2]
        assert await it.operation("reset", account="Anna@example.test") == {"account": ANNA, "forgotten": True}
        assert await it.learned() == {"": (3, 2), ANNA: (0, 0)}
        for wrong in (
            {"account": ANNA}, {"junk": True}, {"junk": True, "messages": ["?"]}, {"junk": True, "messages": [7]},
            {"junk": True, "mailbox": "Junk"}, {"junk": True, "account": 7},
            {"junk": True, "account": ANNA, "mailbox": "Junk", "after": "x"},
        ):  # fmt: skip
            with pytest.raises((api.InvalidInput, ValueError)):
                await it.operation("train", **wrong)
        for missing in ({"account": "nobody@example.test"}, {"account": ANNA, "mailbox": "None"}):
            with pytest.raises(api.NotFound):
                await it.operation("train", junk=True, messages=[], **missing)


async def test_who_has_learned_nothing_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    original = Model.judge

    def counted(*arguments: Any) -> Opinion:
        nonlocal asked
        asked += 1
        return original(*arguments)

    monkeypatch.setattr(Model, "judge", counted)
    async with world(tmp_path, enough=20) as it:
        assert await it.score(junk(1)) == 0.0
        for number in range(2):
            await it.move(await it.put(junk(number), "INBOX"), "INBOX", "Junk")
            assert asked == 0
            await it.move(await it.put(good(number), "INBOX"), "INBOX", "Archive")
            await it.score(junk(10 + number))
        assert asked == 1
    async with world(tmp_path, enough=20) as it:
        await it.score(junk(20))
        assert asked == 2
