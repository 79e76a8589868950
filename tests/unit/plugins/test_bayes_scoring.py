"""From features to a score."""

from __future__ import annotations

import random

import pytest

from mailserver import api
from mailserver.plugins.bayes import scoring
from mailserver.plugins.bayes.scoring import Clue, Row, Totals, judge, weigh
from mailserver.plugins.bayes.tokens import Hasher, Tokens

HASHER = Hasher(b"key of this test")


def tokens(text: str, *marks: str) -> Tokens:
    return HASHER.tokens(api.MailFeatures((("subject", []), ("", text.split())), frozenset(marks)))


class Learned:
    """Counts in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.totals = Totals()

    def learn(self, text: str, *, junk: bool, times: int = 1) -> None:
        for number in tokens(text):
            old = self.rows.get(number, (0, 0))
            self.rows[number] = (old[0] + times * junk, old[1] + times * (not junk))
        self.totals = Totals(self.totals.junk + times * junk, self.totals.good + times * (not junk))


def judged(text: str, shared: Learned, own: Learned | None = None) -> tuple[float, list[Clue]]:
    found, own = tokens(text), own or Learned()
    rows = [{number: one.rows[number] for number in found if number in one.rows} for one in (shared, own)]
    return judge(found, weigh(rows[0], shared.totals, rows[1], own.totals), 1000)


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


def test_a_pair_counts_instead_of_its_words_and_not_beside_them() -> None:
    learned = Learned()
    learned.learn("hot dog", junk=False, times=9)
    learned.learn("hot water", junk=True, times=9)
    learned.learn("dog food", junk=True, times=9)
    _, clues = judged("hot dog", learned)
    assert [clue.words for clue in clues] == [("hot", "dog")]
    assert clues[0].probability < 0.1


def test_no_word_counts_twice() -> None:
    learned = Learned()
    learned.learn("buy cheap pills", junk=True, times=9)
    learned.learn("something else", junk=False, times=9)
    _, clues = judged("buy cheap pills", learned)
    said = [word for clue in clues for word in clue.words]
    assert len(said) == len(set(said))
    assert set(said) <= {"buy", "cheap", "pills"}


def test_only_the_strongest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_MOST_CLUES", 1000)
    learned = Learned()
    learned.learn(" ".join(f"a{i}" for i in range(800)), junk=True, times=5)
    learned.learn(" ".join(f"b{i}" for i in range(50)), junk=False, times=5)
    _, clues = judged(" ".join(f"a{i} b{i}" for i in range(50)), learned)
    assert len(clues) == 100
    long, clues = judged(" ".join(f"a{i}" for i in range(0, 800, 2)), learned)
    assert len(clues) == 300
    assert long > 0.999


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
    rows = {number: (rng.randrange(0, 10**rng.randrange(1, 8)), rng.randrange(0, 1000)) for number in tokens(text)}
    totals = Totals(rng.randrange(10**7), rng.randrange(1000))
    found, _ = judge(tokens(text), weigh(rows, totals, {}, Totals()), totals.least)
    assert 0 <= found <= 1
