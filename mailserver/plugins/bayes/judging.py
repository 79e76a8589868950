"""An opinion in points, and in words for the person who gets the mail. No I/O.

The words are those of this very message: what others wrote never shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from mailserver import api
from mailserver.plugins.bayes.model import Opinion
from mailserver.plugins.bayes.scoring import Clue
from mailserver.plugins.bayes.settings import BayesSettings
from mailserver.plugins.bayes.tokens import MARK

__all__ = ["is_enough", "reason_of"]

_CHECK = "bayes"
#: With less than this part of `enough` there is no opinion.
_LEAST_PART = 0.1
#: Powers of ten of the odds: 0.95 is 9 to 1, below which it says nothing, 2 is 99 to 1.
_SOME, _SURE, _MOST = 0.95, 2.0, 2.4
_MOST_WORDS = 4
_SENDER = "the sender "
_ADVICE = "If it is wanted, move it out of Junk: the server learns from that"


def is_enough(learned: int, settings: BayesSettings) -> bool:
    """Whether there is an opinion with so many messages of the kind of which fewer are known."""
    return learned >= _LEAST_PART * settings.enough


def reason_of(opinion: Opinion, settings: BayesSettings) -> api.Reason | None:
    """None: nothing can be said."""
    weight = min(1.0, opinion.learned / settings.enough)
    odds = _odds(opinion.score)
    if not is_enough(opinion.learned, settings) or abs(odds) < _SOME:
        return None
    if odds > 0:
        points = round(weight * settings.junk_points * min(odds, _MOST) / _SURE, 1)
        said = _words(clue for clue in opinion.clues if clue.weight > 0)
        text = f"It reads like mail that was filed as junk{said}"
        return api.Reason(_CHECK, points, text, _ADVICE) if points else None
    points = round(weight * settings.good_points * max(odds, -_SURE) / _SURE, 1)
    said = _words(clue for clue in opinion.clues if clue.weight < 0)
    return api.Reason(_CHECK, points, f"It reads like mail that was wanted{said}") if points else None


def _odds(score: float) -> float:
    """As a power of ten, the scores that the settings name exactly so."""
    if score <= 0.0 or score >= 1.0:
        return math.copysign(_MOST, score - 0.5)
    odds = math.log10(score / (1 - score))
    # 0.99 is 99 to 1, a hundredth less than two powers of ten.
    return odds * _SURE / math.log10(99)


def _words(clues: Iterable[Clue]) -> str:
    """The strongest clues; of equal ones those that say most to a person, which are the longest. No word twice."""
    shown = [(round(abs(clue.weight), 2), len(text), text, clue.words) for clue in clues if (text := _shown(clue))]
    said: list[str] = []
    used: set[str] = set()
    for _, _, text, words in sorted(shown, reverse=True):
        if used.isdisjoint(words) and not (text.startswith(_SENDER) and any(one.startswith(_SENDER) for one in said)):
            said.append(text)
            used.update(words)
            if len(said) == _MOST_WORDS:
                break
    return f", most of all by {', '.join(said)}" if said else ""


def _shown(clue: Clue) -> str:
    """What a person can make something of; "" for the rest."""
    if clue.words[0].startswith(MARK):
        kind, _, name = clue.words[0][1:].partition(" ")
        shown = {"link": f"a link to {name}", "from": f"{_SENDER}{name}"}.get(kind, "")
        return "" if name.startswith(("word ", "to ")) or not name.isprintable() else shown
    words = " ".join(word.removeprefix("subject:").removeprefix("from:") for word in clue.words)
    return f"“{words}”" if words.isprintable() else ""
