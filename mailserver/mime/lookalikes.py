"""Names that are made to be taken for others: the same to the eye, or one letter apart (Unicode UTS #39 §4, §5).

`skeleton` maps what looks alike to one text. Its table has the letters of Cyrillic, Greek, Armenian and Latin that pass
for plain ones in a list of messages; letters with marks, and styled letters of all kinds, Unicode itself takes apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = [
    "KnownDomains", "Likeness", "base_domain", "looks_like", "mixes_alphabets", "readable_domain", "skeleton", "tricks",
]  # fmt: skip

_LONGEST = 255
#: Pairs: what stands there, what it is taken for. Lower case, since it is looked at behind `casefold`.
_PAIRS = (
    # Cyrillic
    "\u0430a \u0432b \u0435e \u0433r \u0434g \u0437e \u0438u \u043ak \u043cm \u043dh \u043eo \u043fn \u0440p "
    "\u0441c \u0442t \u0443y \u0445x \u0448w \u0449w \u044ab \u044bb \u044cb \u044fr \u0455s \u0456l \u0458j "
    "\u04bbh \u04cfl \u0501d \u051bq \u051dw \u04afy \u0491r \u0493f \u0499e \u049bk \u04a3h \u04abc \u04ady "
    "\u04b3x "
    # Greek
    "\u03b1a \u03b2b \u03b3y \u03b5e \u03b6z \u03b7n \u03b8o \u03b9l \u03bak \u03bcu \u03bdv \u03bfo \u03c0n \u03c1p "
    "\u03c2c \u03c3o \u03c4t \u03c5u \u03c7x \u03c9w \u03f2c \u03f3j "
    # Armenian
    "\u0561w \u0563q \u0566q \u0570h \u0575j \u0578n \u057cn \u057dv \u0581g \u0584f \u0585o \u0582l "
    # Latin
    "\u0131l \u0142l \u00f8o \u0111d \u0127h \u0167t \u0251a \u0261g \u0269l \u026al \u028bv \u0252a \u0253b \u0256d "
    "\u0257d \u0260g \u0266h \u0268l \u0199k \u019al \u019en \u01a5p \u01adt \u01b4y \u01b6z \u0225z \u0180b \u0188c "
    "\u0192f \u025be \u0273n \u0280r \u0282s \u028fy \u0290z \u1d00a \u1d04c \u1d05d \u1d07e \u1d0am \u1d0fo \u1d18p "
    "\u1d1bt \u1d1cu \u1d20v \u1d21w \u1d22z \u00fep \u0138k "
    # Figures, and what else is taken for a letter
    "0o 1l il |l 5s \u2113l \u00d7x \u2044/ \u2215/ \u2024. \u3002. \u2010- \u2011- \u2012- \u2013- \u2212-"
)
_TABLE = {ord(pair[0]): pair[1] for pair in _PAIRS.split()}
_ASCII_TABLE = {seen: meant for seen, meant in _TABLE.items() if seen < 128}
#: What two letters side by side are taken for.
_TOGETHER = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
#: Marks that override the direction of writing (those that only embed some of it are honest), and characters without a
#: shape, which only serve to hide something. Joiners, which Persian and emoji need, are so only between plain letters.
_TURNS = re.compile("[\u202d\u202e]")
_UNSEEN = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff\u115f\u1160\u3164]|(?<=[A-Za-z])[\u200c\u200d](?=[A-Za-z])")
#: Second-level domains below which names are given to anybody, where the top one is a country.
_SHARED = frozenset(("ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "gv", "ne", "net", "nom", "or", "org"))
#: One letter makes a difference in short names all the time.
_SHORT, _TINY = 6, 4
_MOST_LABELS = 12


def readable_domain(domain: str) -> str:
    """A domain with its A-labels as the letters that they stand for; those that stand for none are left."""
    if "xn--" not in domain:
        return domain
    return ".".join(map(_letters, domain[:_LONGEST].split(".")))


def _letters(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        letters = label[4:].encode("ascii").decode("punycode")
        # Half a surrogate pair is no letter, and nothing that is written down anywhere.
        letters.encode()
        return letters
    except (UnicodeError, ValueError, OverflowError):
        return label


def skeleton(name: str) -> str:
    """What is the same for all names that look like this one; of at most 255 characters."""
    text = readable_domain(name[:_LONGEST]).casefold()
    if text.isascii():
        text = text.translate(_ASCII_TABLE)
    else:
        taken_apart = unicodedata.normalize("NFKD", text.translate(_TABLE)).casefold()
        text = "".join(c for c in taken_apart if not unicodedata.combining(c) and not _UNSEEN.match(c))
        text = text.translate(_TABLE)
    for pair, one in _TOGETHER:
        text = text.replace(pair, one)
    return text


def base_domain(domain: str) -> str:
    """The part of a domain that somebody registered, as far as its form tells: two labels, or three (`x.co.uk`)."""
    labels = domain.split(".")
    shared = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SHARED
    return ".".join(labels[-3:] if shared else labels[-2:])


class Likeness(NamedTuple):
    """That a domain is made to look like one that is known (`domain`): `same` to the eye, `letter` (one is different),
    `inside` (it begins with all of the other)."""

    how: str
    domain: str


class KnownDomains:
    """Domains in A-labels to which others are compared, in a time that does not depend on how many they are."""

    def __init__(self, domains: Iterable[str] = ()) -> None:
        self._domains: set[str] = set()
        self._bases: set[str] = set()
        self._same: dict[str, str] = {}
        #: By the beginning and the end of a name: one letter is not in both.
        self._near: dict[str, list[tuple[str, str]]] = {}
        for domain in domains:
            self.add(domain)

    def __len__(self) -> int:
        return len(self._domains)

    def add(self, domain: str) -> None:
        """One more."""
        if domain in self._domains or "." not in domain:
            return
        self._domains.add(domain)
        base = base_domain(domain)
        if base in self._bases:
            return
        self._bases.add(base)
        name, shape = base.partition(".")[0], skeleton(base)
        if len(name) >= _TINY:
            self._same.setdefault(shape, domain)
        if len(name) >= _SHORT:
            for key in _ends(shape):
                self._near.setdefault(key, []).append((shape, domain))

    def like(self, domain: str) -> Likeness | None:
        """What a domain is made to look like; None: nothing, or it is known itself or belongs to one that is."""
        base = base_domain(domain)
        if base in self._bases or not self._bases:
            return None
        shape = skeleton(base)
        known = self._same.get(shape)
        if known is not None:
            return Likeness("same", known)
        inside = next((part for part in _parts(domain) if part in self._domains), None)
        if inside is not None:
            return Likeness("inside", inside)
        for key in _ends(shape):
            for other, known in self._near.get(key, ()):
                if _one_apart(shape, other):
                    return Likeness("letter", known)
        return None


def looks_like(domain: str, known: str) -> str:
    """How a domain is made to look like another one that is known; "" when it is not."""
    likeness = KnownDomains((known,)).like(domain)
    return "" if likeness is None else likeness.how


def _ends(shape: str) -> tuple[str, str]:
    """What two shapes share, one or the other, that are one letter apart."""
    name, _, rest = shape.partition(".")
    return name[:3], f"{name[-3:]}.{rest}"


def _parts(domain: str) -> Iterator[str]:
    """What stands between dots (or before a hyphen), and is not the end."""
    labels = domain[:_LONGEST].split(".")[:_MOST_LABELS]
    for start in range(len(labels)):
        for end in range(start + 1, len(labels)):
            yield ".".join(labels[start:end])
            before, hyphen, _ = labels[end].partition("-")
            if hyphen:
                yield ".".join([*labels[start:end], before])


def _one_apart(one: str, other: str) -> bool:
    """One letter put in, left out or replaced, or two neighbours exchanged."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    start = next((at for at, c in enumerate(one) if c != other[at]), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    exchanged = one[start : start + 2] == other[start : start + 2][::-1] and one[start + 2 :] == other[start + 2 :]
    return one != other and (one[start + 1 :] == other[start + 1 :] or exchanged)


def mixes_alphabets(domain: str) -> bool:
    """Whether one label of it has letters of two alphabets that look alike (UTS #39 §5.1)."""
    if domain.isascii() and "xn--" not in domain:
        return False
    return any(len(_alphabets(label)) > 1 for label in readable_domain(domain).split("."))


def _alphabets(label: str) -> set[str]:
    names = {unicodedata.name(c, "").partition(" ")[0] for c in label if c.isalpha()}
    return names.intersection(_ALPHABETS)


def tricks(text: str) -> str:
    """What a text has that only serves to mislead: `turned` (its direction is), `unseen` (characters that nobody sees),
    or ""."""
    if text.isascii():
        return ""
    if _TURNS.search(text):
        return "turned"
    return "unseen" if _UNSEEN.search(text) else ""
