"""From features to a score."""

from __future__ import annotations

import random

import pytest

from mailserver import api
from mailserver.plugins.bayes.scoring import (
    UNIT,
    Clue,
    Row,
    Side,
    Totals,
    first_weight,
    judge,
    learning_step,
    moves,
    packed,
)
from mailserver.plugins.bayes.tokens import Hasher, Tokens

HASHER = Hasher(b"key of this test")


def tokens(text: str, *marks: str) -> Tokens:
    return HASHER.tokens(api.MailFeatures((("subject", []), ("", text.split())), frozenset(marks)))


class Learned:
    """In memory."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.totals = Totals()

    def learn(self, text: str, *, junk: bool, times: int = 1) -> None:
        numbers = list(tokens(text))
        for _ in range(times):
            known = {number: self.rows[number] for number in numbers if number in self.rows}
            moved = moves(numbers, known, len(numbers), learning_step(numbers, known, junk=junk))
            for number, weight in moved.items():
                old = self.rows.get(number, (0, 0, 0))
                self.rows[number] = (old[0] + junk, old[1] + (not junk), old[2] + weight)
            self.totals = Totals(self.totals.junk + junk, self.totals.good + (not junk))


def judged(text: str, shared: Learned, own: Learned | None = None) -> tuple[float, list[Clue]]:
    found = tokens(text)
    everybody, mine = (
        None if one is None
        else Side({number: packed(one.rows[number]) for number in found if number in one.rows}, one.totals)
        for one in (shared, own)
    )
    assert everybody is not None
    return judge(found, everybody, mine)


def score(text: str, shared: Learned, own: Learned | None = None) -> float:
    return judged(text, shared, own)[0]


def trained() -> Learned:
    learned = Learned()
    learned.learn("buy cheap pills now the best offer", junk=True, times=20)
    learned.learn("minutes of the meeting on monday now", junk=False, times=20)
    return learned


def test_a_number_is_of_the_key_and_pairs_are_of_their_order() -> None:
    one, other = tokens("alpha beta"), tokens("beta alpha")
    assert set(one.words) == set(other.words)
    assert set(one.pairs).isdisjoint(other.pairs)
    elsewhere = Hasher(b"another key").tokens(api.MailFeatures((("", ["alpha"]),), frozenset()))
    assert set(one.words).isdisjoint(elsewhere.words)
    assert len(one) == len(list(one)) == 3
    assert all(0 <= number < 1 << 63 for number in one)


def test_a_word_of_the_subject_is_another_one_and_a_mark_is_no_word() -> None:
    found = HASHER.tokens(api.MailFeatures((("subject", ["alpha"]), ("", ["alpha", "link"])), frozenset({"link"})))
    assert len(found.words) == 4


def test_many_words_are_forgotten_and_get_the_same_numbers_again() -> None:
    hasher = Hasher(b"key of this test")
    first = hasher.tokens(api.MailFeatures((("", ["alpha"]),), frozenset()))
    hasher.tokens(api.MailFeatures((("", [str(i) for i in range(50_000)]),), frozenset()))
    hasher.tokens(api.MailFeatures((("", ["beta"]),), frozenset()))
    assert len(hasher._known) < 1000
    assert hasher.tokens(api.MailFeatures((("", ["alpha"]),), frozenset())).words == first.words


def test_what_is_like_junk_is_near_one_and_what_is_like_good_mail_near_zero() -> None:
    learned = trained()
    assert score("cheap pills now", learned) > 0.9
    assert score("the meeting on monday", learned) < 0.1
    assert score("nothing like this came before", learned) == 0.5
    assert score("", learned) == 0.5
    assert 0.2 < score("cheap pills meeting monday", learned) < 0.8


def test_two_words_together_may_say_another_thing_than_each_of_them() -> None:
    learned = Learned()
    for _ in range(9):
        learned.learn("hot dog", junk=False)
        learned.learn("hot water", junk=True)
        learned.learn("dog food", junk=True)
    assert score("hot dog", learned) < 0.4
    assert score("hot water", learned) > 0.6
    _, clues = judged("hot dog", learned)
    assert clues[0].words == ("hot", "dog")
    assert clues[0].weight < 0


def test_what_is_right_already_moves_no_weight() -> None:
    learned = trained()
    text = "buy cheap pills now the best offer"
    numbers = list(tokens(text))
    known = {number: learned.rows[number] for number in numbers}
    assert learning_step(numbers, known, junk=True) == 0.0
    assert learning_step(numbers, known, junk=False) < 0.0
    assert learning_step([], {}, junk=True) == 0.0


def test_what_many_messages_have_moves_less() -> None:
    rare, common = tokens("rare common").words
    moved = moves([rare, common], {common: (50, 50, 0)}, 2, 10.0)
    assert 0 < moved[common] < moved[rare] / 2
    # And back again by as much.
    back = moves([rare, common], {rare: (0, 0, moved[rare]), common: (50, 50, moved[common])}, 2, -10.0)
    assert back == {number: -units for number, units in moved.items()}


def test_no_weight_goes_beyond_its_bound() -> None:
    (number,) = tokens("word").words
    assert moves([number], {number: (1, 0, 15 * UNIT)}, 1, 100.0) == {number: UNIT}
    assert moves([number], {}, 1, -100.0) == {number: -16 * UNIT}


def test_counts_alone_give_a_weight() -> None:
    assert first_weight(10, 0, 100, 100) > 0 > first_weight(0, 10, 100, 100)
    assert first_weight(10, 10, 100, 100) == 0


def test_only_the_strongest_are_named() -> None:
    learned = Learned()
    for _ in range(5):
        learned.learn(" ".join(f"a{i}" for i in range(800)), junk=True)
        learned.learn(" ".join(f"b{i}" for i in range(50)), junk=False)
    _, clues = judged(" ".join(f"a{i} b{i}" for i in range(50)), learned)
    assert len(clues) == 40
    assert [abs(clue.weight) for clue in clues] == sorted([abs(clue.weight) for clue in clues], reverse=True)


def test_little_training_of_an_account_moves_little_and_much_moves_much() -> None:
    shared = Learned()
    shared.learn("newsletter about trains", junk=True, times=200)
    shared.learn("other things entirely", junk=False, times=200)
    own = Learned()
    assert score("newsletter about trains", shared, own) > 0.9
    own.learn("newsletter about trains", junk=False, times=1)
    assert score("newsletter about trains", shared, own) > 0.9
    own.learn("newsletter about trains", junk=False, times=150)
    own.learn("something else", junk=True, times=150)
    assert score("newsletter about trains", shared, own) < 0.5


def test_own_training_alone_is_enough_where_nothing_is_shared() -> None:
    own = trained()
    assert score("cheap pills now", Learned(), own) > 0.9
    assert score("the meeting on monday", Learned(), own) < 0.1


@pytest.mark.parametrize("seed", range(20))
def test_a_score_is_always_between_zero_and_one(seed: int) -> None:
    rng = random.Random(seed)
    text = " ".join(f"w{i}" for i in range(rng.randrange(1, 400)))
    rows = {
        number: (rng.randrange(10 ** rng.randrange(1, 8)), rng.randrange(1000), rng.randrange(-16 * UNIT, 16 * UNIT))
        for number in tokens(text)
    }
    packed_rows = {number: packed(row) for number, row in rows.items()}
    side = Side(packed_rows, Totals(rng.randrange(10**7), rng.randrange(1000)))
    assert 0 <= judge(tokens(text), side)[0] <= 1
    assert 0 <= judge(tokens(text), side, Side(packed_rows, Totals(rng.randrange(10), 5)))[0] <= 1
