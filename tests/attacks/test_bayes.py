"""The classifier under attack: words that are there to mislead it, and messages that are there to be long."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver import api
from mailserver.plugins.bayes.database import EVERYBODY, open_database
from mailserver.plugins.bayes.model import Lesson, Model
from tests.helpers.clock import FakeClock

RANDOM = random.Random(5)
SOLD = [f"offer{i}" for i in range(60)]
USUAL = [f"usual{i}" for i in range(400)]


def text(words: list[str], number: int) -> bytes:
    body = "\r\n".join(" ".join(words[at : at + 10]) for at in range(0, len(words), 10))
    return f"From: a@b.example\r\nSubject: hello\r\nMessage-ID: <{number}@x>\r\n\r\n{body}\r\n".encode()


def junk(number: int, salad: int = 0) -> bytes:
    return text(RANDOM.sample(SOLD, 30) + RANDOM.choices(USUAL, k=salad), number)


def good(number: int) -> bytes:
    return text(RANDOM.sample(USUAL, 60), number)


def lesson(octets: bytes, *, is_junk: bool) -> Lesson:
    return Lesson(account=EVERYBODY, created=0.0, octets=octets, junk=is_junk, everybody=True, at=1e9)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(tmp_path / "bayes.db")
    yield opened
    opened.close()


@pytest.fixture
def taught(db: sqlite3.Connection) -> Model:
    it = Model(db, FakeClock(), shared=True)
    for number in range(60):
        it.learn(db, lesson(junk(number), is_junk=True))
        it.learn(db, lesson(good(1000 + number), is_junk=False))
    return it


def test_word_salad_does_not_make_junk_good(db: sqlite3.Connection, taught: Model) -> None:
    plain = taught.judge(db, "plain", junk(2000), "anna", 0.0).score
    assert plain > 0.95
    # As many usual words as its own, and far more words that nobody knows.
    assert taught.judge(db, "salad", junk(2001, salad=15), "anna", 0.0).score > 0.5
    unknown = text([*RANDOM.sample(SOLD, 30), *(f"strange{i}" for i in range(300))], 2002)
    assert taught.judge(db, "strange", unknown, "anna", 0.0).score > 0.5


def test_salad_that_was_filed_as_junk_does_not_poison_good_mail(db: sqlite3.Connection, taught: Model) -> None:
    for number in range(60):
        taught.learn(db, lesson(junk(3000 + number, salad=60), is_junk=True))
    wrong = [n for n in range(40) if taught.judge(db, f"g{n}", good(4000 + n), "anna", 0.0).score >= 0.9]
    missed = [n for n in range(40) if taught.judge(db, f"j{n}", junk(5000 + n, salad=60), "anna", 0.0).score < 0.5]
    assert not wrong
    assert len(missed) <= 2


def test_a_giant_message_costs_what_a_long_one_does(db: sqlite3.Connection, taught: Model) -> None:
    giant = text([f"g{i}" for i in range(300_000)], 6000)
    tokens = taught._hasher.tokens(api.mail_features(giant))
    assert len(tokens) < 8_000
    assert taught.learn(db, lesson(giant, is_junk=True))
    (largest,) = db.execute("SELECT max(length(numbers)) FROM example").fetchone()
    assert largest <= 12_000
    assert taught.judge(db, "good", good(7000), "anna", 0.0).score < 0.1
