"""How OpenDMARC 1.4, which knows RFC 7489 and not its successor, comes to other verdicts than we do.

Each difference is written down as what OpenDMARC makes of a case: read as it reads it, we must come to its verdict. So
whatever is not in the table, and whatever a row of it explains wrongly, shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mailserver.plugins.dmarc.tree import Policy, Tree
from mailserver.wire.dmarc import find_record

__all__ = ["DIFFERENCES", "SUFFIXES", "Case", "Difference", "ListTree", "first_record"]

Records = Mapping[str, Sequence[str]]
_WRONG = "v=DMARC1; p=wrong"
#: Beside those that each case has for itself. What is below "lan" is not in the list.
SUFFIXES = ("test",)


@dataclass(frozen=True)
class Case:
    """`records` of names without `_dmarc.`; `sender` is None for a bounce, and then `helo` is what SPF looked at.
    `listed`: organisations are found by the list of suffixes; `cut`: names lose a first label of one letter."""

    author: str
    sender: str | None
    helo: str
    spf: str
    dkim: Sequence[tuple[str, str]]
    records: Records
    suffix: str
    absent: bool = False
    listed: bool = False
    cut: bool = False

    def name(self, domain: str) -> str:
        first, _, rest = domain.partition(".")
        return rest if self.cut and len(first) == 1 and rest else domain

    def organization(self, domain: str) -> str:
        """RFC 7489 §3.2, by the list. What is not in it is its own."""
        domain = self.name(domain)
        for suffix in (self.suffix, *SUFFIXES):
            if domain.endswith(f".{suffix}"):
                return domain.removesuffix(f".{suffix}").rpartition(".")[2] + f".{suffix}"
        return domain


class ListTree(Tree):
    """RFC 7489 §6.6.3: the author's own record, or that of his organisation."""

    case: Case

    async def policy(self, author: str) -> Policy | None:
        own = await self._record(author)
        if own is not None:
            return Policy(author, own, own.p)
        above = self.case.organization(author)
        record = await self._record(above)
        return None if record is None else Policy(above, record, record.published(below=True, exists=True))

    async def organizational(self, domain: str) -> str:
        return self.case.organization(domain)


@dataclass(frozen=True)
class Difference:
    """`reads`: the case as OpenDMARC takes it."""

    name: str
    why: str
    reads: Callable[[Case], Case]


def _each(change: Callable[[str], str | None]) -> Callable[[Case], Case]:
    """A change of each record; None takes it away."""

    def reads(case: Case) -> Case:
        changed = {name: [change(text) for text in texts] for name, texts in case.records.items()}
        return replace(case, records={n: [text for text in t if text is not None] for n, t in changed.items()})

    return reads


def _tags(text: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in text.split(";")]
    return [(name.strip().lower(), value.strip()) for name, mark, value in pairs if mark]


def _text(tags: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{name}={value}" for name, value in tags)


def first_record(case: Case) -> Case:
    """Each name has one record at most: the one that OpenDMARC takes of an answer."""
    found = {name: [text for text in texts if "v=DMARC" in text][:1] for name, texts in case.records.items()}
    return replace(case, records=found)


def _version_anywhere(text: str) -> str:
    tags = _tags(text)
    version = ("v", "DMARC1")
    return _text([version, *(tag for tag in tags if tag != version)]) if version in tags else text


def _unknown_tags(text: str) -> str:
    known = [tag for tag in _tags(text) if tag[0] not in ("np", "t") and tag != ("pct", "0")]
    return _text(known) if len(known) < len(_tags(text)) else text


_CHOICES = {
    "p": ("none", "quarantine", "reject"), "sp": ("none", "quarantine", "reject"), "adkim": ("strict", "relaxed"),
    "aspf": ("strict", "relaxed"), "rf": ("afrf", "iodef"),
}  # fmt: skip
_MEANT = {"strict": "s", "relaxed": "r"}


def _shortened(text: str) -> str:
    """Any beginning of a value stands for it."""
    tags = []
    for name, value in _tags(text):
        meant = next((one for one in _CHOICES.get(name, ()) if value and one.startswith(value.lower())), value)
        tags.append((name, _MEANT.get(meant, meant)))
    return _text(tags) if tags != _tags(text) else text


def _last(text: str) -> str:
    """Of a tag that is there twice the last one counts."""
    tags = _tags(text)
    return _text(list(dict(tags).items())) if len(dict(tags)) < len(tags) else text


def _wrong(text: str) -> str:
    """A mistake anywhere is one of the whole; what is empty is not there."""
    tags = [tag for tag in _tags(text) if tag[1]]
    bad = any(name in _CHOICES and not any(c.startswith(value.lower()) for c in _CHOICES[name]) for name, value in tags)
    bad = bad or any(name == "v" and value.lower() != "dmarc1" for name, value in tags)
    bad = bad or any(name == "fo" and not set(value.lower()) <= set("01ds:") for name, value in tags)
    bad = bad or any(name == "pct" and value.isdigit() and int(value) > 100 for name, value in tags)
    bad = bad or any(name == "ri" and not value.isdigit() for name, value in tags)
    bad = bad or sum(name == "rua" for name, _ in tags) > 1 or not any(name == "p" for name, _ in tags)
    if bad:
        return _WRONG
    return _text(tags) if len(tags) < len(_tags(text)) else text


def _passes_only(case: Case) -> Case:
    signatures = [(domain, result) for domain, result in case.dkim if result == "pass"]
    return replace(case, dkim=signatures, spf="pass" if case.spf == "pass" else "none")


def _no_bounces(case: Case) -> Case:
    return replace(case, spf="none") if case.sender is None else case


def _aligns(case: Case, aligned: Callable[[str, bool], bool]) -> Case:
    """With the author's domain in place of those which are `aligned`, given the domain and whether this is strict."""
    texts = (case.records.get(domain, ()) for domain in (case.author, case.organization(case.author)))
    found = (find_record([text.encode() for text in each]) for each in texts)
    record = next((each for each in found if each is not None), None)
    if record is None:
        return case
    signed = [(case.author if aligned(d, record.strict_dkim) else d, result) for d, result in case.dkim]
    sender = case.sender
    if sender is not None and aligned(sender, record.strict_spf):
        sender = case.author
    return replace(case, dkim=signed, sender=sender)


def _one_letter(case: Case) -> Case:
    case = replace(case, cut=True)
    return _aligns(case, lambda domain, _: case.name(domain) == case.name(case.author))


def _below_is_strict(case: Case) -> Case:
    return _aligns(case, lambda domain, strict: strict and case.organization(domain) == case.name(case.author))


def _above_and_below(case: Case) -> Case:
    author = case.name(case.author)

    def aligned(domain: str, strict: bool) -> bool:
        domain = case.name(domain)
        return not strict and (domain.endswith(f".{author}") or author.endswith(f".{domain}"))

    return _aligns(case, aligned)


DIFFERENCES = (
    Difference(
        "first of several", "RFC 9989 §4.10 and RFC 7489 §6.6.3 discard several records; it takes the first that comes,"
        " of those in which there is v=DMARC", first_record,
    ),
    Difference(
        "version anywhere", "RFC 9989 §4.7 and RFC 7489 §6.3: v comes first, else it is not a record; it looks for it"
        " in any place", _each(_version_anywhere),
    ),
    Difference(
        "beginnings", "any beginning of a value is taken for it, as in p=rej and adkim=strict; by RFC 9989 §4.7 that"
        " is a value nobody knows", _each(_shortened),
    ),
    Difference(
        "mistakes", "a record with one wrong value anywhere, of another version, or without p is a permerror for it;"
        " RFC 9989 §4.7 has the default for what is wrong, §4.10.1 a policy of none when reports are asked for, and"
        " another version is no record (§4.10)", _each(_wrong),
    ),
    Difference("last of the same", "of a tag that is there twice it takes the last, we the first", _each(_last)),
    Difference(
        "new tags", "np and t are of RFC 9989 §4.7; pct (RFC 7489 §6.3), whose 0 is what t replaced, it takes for"
        " the action alone", _each(_unknown_tags),
    ),
    Difference(
        "list", "organisations by a list of public suffixes, and two questions (RFC 7489 §3.2, §6.6.3), not by the walk"
        " up the tree and psd (RFC 9989 §4.10)", lambda case: replace(case, listed=True),
    ),
    Difference(
        "not known", "what could not be looked up might have been the proof: a temperror (RFC 9989 §5.3.6); it sees"
        " what passes and nothing else", _passes_only,
    ),
    Difference(
        "bounces", "SPF of a bounce is that of the name in HELO (RFC 7208 §2.4, RFC 9989 §4.4.2); it wants the result"
        " to be of the domain in MAIL FROM, which is empty", _no_bounces,
    ),
    Difference(
        "one letter", "its fault: opendmarc_reverse_domain loses a first label of one letter, so that a.bank.test,"
        " c.bank.test and bank.test are one name to it, whatever the mode", _one_letter,
    ),
    Difference(
        "strict", "its fault: it compares the author with the organisation of what was proved without asking for the"
        " mode, so that strict lets all names below the author's pass, if he is the organisation (RFC 9989 §4.4)",
        _below_is_strict,
    ),
    Difference(
        "above and below", "its fault: relaxed lets pass whatever is above the author's name or below it, public"
        " suffixes too, whoever they belong to (RFC 7489 §3.1.1 compares organisations)", _above_and_below,
    ),
)  # fmt: skip
