"""From what was learned of its tokens to a score: two opinions that are wrong about different messages, added up.

The first is naive Bayes: how often a word is in junk and in good mail gives its odds, which few observations pull
towards nothing. It needs little training, and says too much where words come together.

The second is online logistic regression over all tokens (as in Goodman and Yih, "Online Discriminative Spam Filter
Training", CEAS 2006). Each token has a weight, which moves only when a message is learned of which the weights were
not sure already ("train on or near error", Siefkes et al., "Combining Winnow and Orthogonal Sparse Bigrams", PKDD
2004), and the less, the more messages had it. So what is in every newsletter weighs nothing, and what tells wanted
ones from others weighs much.

Both are sums over tokens, divided by the root of their number, so that a long message does not decide by its length,
and a thousand harmless words beside an advertisement do not drown it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest

from mailserver.plugins.bayes.tokens import Tokens

__all__ = [
    "UNIT", "Clue", "Row", "Side", "Totals", "first_weight", "judge", "learning_step", "margin", "moves",
    "packed",
]  # fmt: skip

#: A weight is kept as a whole number of these parts of one, so that sums are the same on every machine.
UNIT = 4096
#: What the odds of a token that was only counted are worth as a weight.
_FIRST = 0.25
#: No weight goes beyond this, whoever teaches what.
_MOST_WEIGHT = 16 * UNIT

# Learning: how far a message moves the weights, which error is near enough to none, and how often it is tried.
_RATE = 24.0
_NEAR = 0.1
_TRIES = 10
_RARE = 0.25

#: As if each word had been seen half a time before, half of that in junk (Robinson's s, and s times x).
_STRENGTH = 0.5
_KNOWN = 0.25
#: Words whose odds are nearer to even say nothing: a probability between 0.4 and 0.6.
_LEAST = math.log(0.6 / 0.4)
#: The strongest ones count.
_MOST = 300
#: Bayes' part of the sum, and how much more it is while few messages (so many of a class) are known.
_BAYES = 0.1
_BAYES_FIRST = 0.2
_FEW = 100
#: What the sum is worth as odds, fully taught. Newsletters look like junk until some were seen, so that comes late: a
#: sixth of it with nothing, and somewhat more than half with so many messages of a class.
_SHARP = 2.9
_UNSURE = 600
_FIRST_PART = 1 / 6
#: Own training counts half as soon as it has so many messages of a class.
_OWN = 50
#: Clues that are named, as long as they are not so many times weaker than the strongest.
_MOST_CLUES = 40
_CLUE = 10

#: Junk and good messages that have a token, and its weight in units.
Row = tuple[int, int, int]


#: A packed row: counts of 19 bits each above 24 of the weight.
_COUNT, _WEIGHT = 19, 24
_MOST_COUNT = (1 << _COUNT) - 1
_WEIGHTS = (1 << _WEIGHT) - 1
_ZERO = 1 << (_WEIGHT - 1)


def packed(row: Row) -> int:
    """A row as one number from 0 to 2⁶²; counts end at half a million."""
    junk, good, weight = row
    return (min(junk, _MOST_COUNT) << _COUNT | min(good, _MOST_COUNT)) << _WEIGHT | weight + _ZERO


def _unpacked(row: int) -> Row:
    counts = row >> _WEIGHT
    return counts >> _COUNT, counts & _MOST_COUNT, (row & _WEIGHTS) - _ZERO


_NOTHING = packed((0, 0, 0))


@dataclass(frozen=True, slots=True)
class Totals:
    """Messages that were learned."""

    junk: int = 0
    good: int = 0

    @property
    def least(self) -> int:
        """Of the class of which there are fewer."""
        return min(self.junk, self.good)


@dataclass(frozen=True, slots=True)
class Side:
    """What one owner knows of the tokens of a message; rows are `packed`. `known` remembers odds by counts, and may be
    handed on as long as `totals` are the same."""

    rows: Mapping[int, int]
    totals: Totals
    known: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clue:
    """What one token adds to the logarithm of the odds for junk. `words` are the words, or the mark, it is made of."""

    weight: float
    words: tuple[str, ...]


# -- judging -----------------------------------------------------------------------------------------------------------


def judge(tokens: Tokens, everybody: Side, own: Side | None = None) -> tuple[float, list[Clue]]:
    """The score of a message, from 0 (good) to 1 (junk), and what it comes from, the strongest first.

    The more an account has learned, the more its own side counts.
    """
    learned = max(everybody.totals.least, own.totals.least if own is not None else 0)
    words = tokens.words
    weights: Mapping[int, float]
    if own is None:
        weights = {number: (row & _WEIGHTS) - _ZERO for number, row in everybody.rows.items()}
        odds = _odds(everybody, words)
    else:
        weights, odds = _mixed_weights(everybody, own), _mixed_odds(everybody, own, words)
    if len(odds) > _MOST:
        odds = dict(nlargest(_MOST, odds.items(), key=_strength))
    # Of a few messages, much is chance: less is certain, and counts need less than weights do.
    sharp = _SHARP * (learned + _FIRST_PART * _UNSURE) / (learned + _UNSURE)
    bayes = sharp * (_BAYES + _BAYES_FIRST * _FEW / (learned + _FEW)) / math.sqrt(len(odds) or 1)
    weighs = sharp / (UNIT * math.sqrt(len(tokens) or 1))
    # Exact sums, and by number among equals: the same message always gets the same score.
    score = _probability(weighs * math.fsum(weights.values()) + bayes * math.fsum(odds.values()))
    parts = {number: weighs * weight for number, weight in weights.items()}
    for number, one in odds.items():
        parts[number] += bayes * one
    least = max(map(abs, parts.values()), default=0.0) / _CLUE
    strong = [(abs(part), number, part) for number, part in parts.items() if abs(part) > least]
    strong.sort(reverse=True)
    return score, [Clue(part, tokens.text(number)) for _, number, part in strong[:_MOST_CLUES]]


def _strength(one: tuple[int, float]) -> tuple[float, int]:
    return abs(one[1]), one[0]


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def _share(totals: Totals, everybody: Totals) -> tuple[float, float]:
    """The parts of its own side in what counts for an account: of junk and of good messages."""
    junk = totals.junk / (totals.junk + _OWN) if everybody.junk else 1.0
    good = totals.good / (totals.good + _OWN) if everybody.good else 1.0
    return junk, good


def _odds(side: Side, words: Mapping[int, str]) -> dict[int, float]:
    """The logarithms of the odds of words that say anything."""
    junk_unit, good_unit = 1 / (side.totals.junk or 1), 1 / (side.totals.good or 1)
    rows, known = side.rows, side.known
    out = {}
    for number in words:
        row = rows.get(number)
        if row is not None:
            counts = row >> _WEIGHT
            odds = known.get(counts)
            if odds is None:
                junk, good, _ = _unpacked(row)
                odds = known[counts] = _odds_of(junk * junk_unit, good * good_unit, junk + good)
            if odds:
                out[number] = odds
    return out


def _odds_of(in_junk: float, in_good: float, seen: int) -> float:
    """Of a word that is in such parts of junk and of good mail; 0 where that is next to nothing."""
    if not in_junk and not in_good:
        return 0.0
    part = (_KNOWN + seen * in_junk / (in_junk + in_good)) / (_STRENGTH + seen)
    odds = math.log(part / (1 - part))
    return odds if abs(odds) >= _LEAST else 0.0


def _mixed_odds(everybody: Side, own: Side, words: Mapping[int, str]) -> dict[int, float]:
    junk_part, good_part = _share(own.totals, everybody.totals)
    junk_all, good_all = (1 - junk_part) / (everybody.totals.junk or 1), (1 - good_part) / (everybody.totals.good or 1)
    junk_own, good_own = junk_part / (own.totals.junk or 1), good_part / (own.totals.good or 1)
    out = {}
    for number in words:
        theirs, mine = everybody.rows.get(number, _NOTHING), own.rows.get(number, _NOTHING)
        if theirs is not mine:
            (junk, good, _), (my_junk, my_good, _) = _unpacked(theirs), _unpacked(mine)
            odds = _odds_of(junk * junk_all + my_junk * junk_own, good * good_all + my_good * good_own,
                            max(junk + good, my_junk + my_good))  # fmt: skip
            if odds:
                out[number] = odds
    return out


def _mixed_weights(everybody: Side, own: Side) -> dict[int, float]:
    # Who knows only one class calls everything by its name.
    mine = min(_share(own.totals, everybody.totals)) if everybody.totals.least else 1.0
    out = {number: (1 - mine) * ((row & _WEIGHTS) - _ZERO) for number, row in everybody.rows.items()}
    for number, row in own.rows.items():
        out[number] = out.get(number, 0.0) + mine * ((row & _WEIGHTS) - _ZERO)
    return out


# -- learning ----------------------------------------------------------------------------------------------------------


def margin(rows: Mapping[int, Row], count: int) -> float:
    """What the weights say of a message of `count` tokens: above 0 for junk."""
    return sum([row[2] for row in rows.values()]) / (UNIT * math.sqrt(count or 1))


def learning_step(numbers: Sequence[int], rows: Mapping[int, Row], *, junk: bool) -> float:
    """How far a message has to move the weights so that they are nearly right about it; 0 when they are."""
    count = len(numbers)
    if not count:
        return 0.0
    wanted = 1.0 if junk else 0.0
    at, step = margin(rows, count), 0.0
    gain = sum([_ease(rows.get(number)) for number in numbers]) / count
    for _ in range(_TRIES):
        error = wanted - _probability(at)
        if abs(error) < _NEAR:
            break
        step += _RATE * error
        at += _RATE * error * gain
    return step


def moves(numbers: Iterable[int], rows: Mapping[int, Row], count: int, step: float) -> dict[int, int]:
    """By how many units each weight moves. `rows`: before the message is counted."""
    per_token = UNIT * step / math.sqrt(count or 1)
    out = {}
    for number in numbers:
        row = rows.get(number)
        old = row[2] if row is not None else 0
        out[number] = max(-_MOST_WEIGHT, min(_MOST_WEIGHT, old + round(per_token * _ease(row)))) - old
    return out


def _ease(row: Row | None) -> float:
    """How easily the weight of a token moves."""
    return 1.0 if row is None else (1 + row[0] + row[1]) ** -_RARE


def first_weight(junk: int, good: int, all_junk: int, all_good: int) -> int:
    """The weight, in units, of a token of which only counts are known, in so many messages of each class."""
    return round(_FIRST * UNIT * _odds_of(junk / all_junk, good / all_good, junk + good))
