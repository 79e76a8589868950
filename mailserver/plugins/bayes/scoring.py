"""From counts to a score: naive Bayes as by Robinson, with Fisher's way of combining, and pairs that share no word.

For each token, how often it is in junk and in good mail gives a probability that what has it is junk, which few
observations pull towards one half. Of the tokens that say anything, the strongest ones count; a pair counts instead of
its words where it says more than they do, and not beside them, for they would be one observation counted twice.
Fisher's method asks how likely such a set were if all of it was chance, once for junk and once for good mail, so what
speaks both ways ends in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailserver.plugins.bayes.tokens import Tokens

__all__ = ["Clue", "Row", "Totals", "judge", "weigh"]

#: As if each token had been seen half a time before, half of that in junk (Robinson's s, and s times x).
_STRENGTH = 0.5
_KNOWN = 0.25
#: Tokens nearer to one half say nothing.
_LEAST = 0.1
#: The strongest ones count, so that a long message does not decide by its length.
_MOST = 300
_MOST_CLUES = 40
#: Own training counts half as soon as it has so many messages of a class.
_OWN = 50
#: Words that come together are not independent, and least so where few messages are known: of so many of a class, what
#: speaks counts as if there were half as much of it.
_FEW = 100

#: Junk and good messages that have a token.
Row = tuple[int, int]


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
class Clue:
    """What one token says: `probability` that it is junk. `words` are the words, or the mark, that it is made of."""

    probability: float
    words: tuple[str, ...]


def weigh(
    shared: Mapping[int, Row], all_learned: Totals, own: Mapping[int, Row], learned: Totals
) -> dict[int, float]:
    """The probability of each token that what has it is junk, from the counts of all accounts and of one; the more it
    has learned, the more its own count."""
    junk_part, good_part = learned.junk / (learned.junk + _OWN), learned.good / (learned.good + _OWN)
    if not all_learned.junk:
        junk_part = 1.0
    if not all_learned.good:
        good_part = 1.0
    junk_all, good_all = (1 - junk_part) / (all_learned.junk or 1), (1 - good_part) / (all_learned.good or 1)
    junk_own, good_own = junk_part / (learned.junk or 1), good_part / (learned.good or 1)
    out = {}
    for number, (junk, good) in shared.items():
        in_junk, in_good, seen = junk * junk_all, good * good_all, junk + good
        if number in own:
            junk, good = own[number]
            in_junk, in_good, seen = in_junk + junk * junk_own, in_good + good * good_own, max(seen, junk + good)
        if in_junk or in_good:
            out[number] = (_KNOWN + seen * in_junk / (in_junk + in_good)) / (_STRENGTH + seen)
    for number, (junk, good) in own.items():
        if number not in shared and (junk or good):
            in_junk, seen = junk * junk_own, junk + good
            out[number] = (_KNOWN + seen * in_junk / (in_junk + good * good_own)) / (_STRENGTH + seen)
    return out


def judge(tokens: Tokens, probabilities: Mapping[int, float], learned: int) -> tuple[float, list[Clue]]:
    """The score of a message, from 0 (good) to 1 (junk), and what it comes from, the strongest first.

    Args:
        probabilities: of these tokens, as far as they are known.
        learned: messages of the class of which fewer are known.
    """
    chosen = _choose(tokens, probabilities)
    score = _combine([probability for probability, _ in chosen], learned / (learned + _FEW))
    words, pairs = tokens.words, tokens.pairs
    clues = []
    for probability, number in chosen[:_MOST_CLUES]:
        parts = pairs.get(number) or (number,)
        clues.append(Clue(probability, tuple([words[part] for part in parts])))
    return score, clues


def _choose(tokens: Tokens, probabilities: Mapping[int, float]) -> list[tuple[float, int]]:
    low, high = 0.5 - _LEAST, 0.5 + _LEAST
    # By number among equals: the same message always gets the same score.
    found = sorted(
        [
            (abs(probability - 0.5), number, probability)
            for number, probability in probabilities.items()
            if not low < probability < high
        ],
        reverse=True,
    )
    taken: set[int] = set()
    chosen = []
    pairs = tokens.pairs
    for _, number, probability in found:
        parts = pairs.get(number)
        if parts is None:
            if number in taken:
                continue
            taken.add(number)
        else:
            one, other = parts
            if one in taken or other in taken:
                continue
            taken.add(one)
            taken.add(other)
        chosen.append((probability, number))
        if len(chosen) == _MOST:
            break
    return chosen


def _combine(probabilities: Iterable[float], part: float) -> float:
    logs = [(math.log(one), math.log(1 - one)) for one in probabilities]
    if not logs:
        return 0.5
    count = max(1, round(part * len(logs)))
    part = count / len(logs)
    junk = 1 - _chance(-part * sum(other for _, other in logs), count)
    good = 1 - _chance(-part * sum(one for one, _ in logs), count)
    return (1 + junk - good) / 2


def _chance(half: float, count: int) -> float:
    """The probability that chi-square with 2·`count` degrees of freedom is 2·`half` or more."""
    # With at most 300 terms, what cannot be represented is nothing.
    term = total = math.exp(-half) if half < 700 else 0.0
    for i in range(1, count):
        term *= half / i
        total += term
    return min(total, 1.0)
