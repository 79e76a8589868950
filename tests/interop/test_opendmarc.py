"""DMARC beside OpenDMARC 1.4: thousands of cases, and no difference that is not in the table of
`opendmarc_differences`."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.findings import AuthResult, Findings
from mailserver.plugins.dmarc import evaluation
from mailserver.plugins.dmarc.evaluation import evaluate
from mailserver.plugins.dmarc.tree import Tree
from tests.helpers.judging import dkim, spf
from tests.helpers.zones import ZoneResolver
from tests.interop.opendmarc import Asked, opendmarc
from tests.interop.opendmarc_differences import DIFFERENCES, SUFFIXES, Case, ListTree, first_record
from tests.interop.programs import needs

pytestmark = [pytest.mark.interop, needs("opendmarc")]


async def verdict(case: Case) -> tuple[str, str]:
    """Ours: the result, and of a "fail" the policy that applies; else ""."""
    zones = {f"_dmarc.{name}": [{"TXT": text} for text in texts] for name, texts in case.records.items()}
    if not case.absent:
        zones.setdefault(case.author, [{"A": "192.0.2.1"}])
    sender = None if case.sender is None else EmailAddress("b", case.sender)
    by_helo = AuthResult(method="spf", result=case.spf, properties=(("smtp.helo", case.helo),))
    results = [by_helo if case.sender is None else spf(case.sender, case.spf)]
    results += [dkim(domain, result) for domain, result in case.dkim]
    tree = type("TreeOfCase", (ListTree,), {"case": case}) if case.listed else Tree
    with patch.object(evaluation, "Tree", tree):
        found = await evaluate(ZoneResolver(zones), case.author, sender, case.helo, Findings(tuple(results)))
    return found.result, found.policy.wanted if found.result == "fail" and found.policy else ""


def asked(case: Case) -> Asked:
    results = [f"dkim={result} header.d={domain} header.s=s" for domain, result in case.dkim]
    where = f"smtp.helo={case.helo}" if case.sender is None else f"smtp.mailfrom={case.sender}"
    return Asked(case.author, case.sender or "", [f"spf={case.spf} {where}", *results])


def on_the_wire(case: Case) -> dict[str, str]:
    """What the file of names can hold: one record of a name."""
    return {f"_dmarc.{name}": texts[0] for name, texts in first_record(case).records.items() if texts}


_TAGS: dict[str, list[str]] = {
    "p": ["none", "quarantine", "reject", "Reject", "rej", "wrong", ""],
    "sp": ["none", "quarantine", "reject", "q", "x", ""],
    "np": ["none", "quarantine", "reject"], "adkim": ["r", "s", "S", "strict", "x"], "aspf": ["r", "s", "relaxed", "x"],
    "psd": ["y", "n", "u"], "t": ["y", "n"], "rua": ["mailto:a@b.test"], "fo": ["1:d", "0", "x"],
    "pct": ["100", "50", "0", "101"], "ri": ["86400", "x"], "rf": ["afrf", "x"], "unknown": ["x"],
}  # fmt: skip
_CHANCES = {"p": 0.97, "sp": 0.3, "np": 0.1, "adkim": 0.35, "aspf": 0.35, "psd": 0.15, "t": 0.1, "rua": 0.3}
_VERSIONS = ["v=DMARC1"] * 20 + ["v = DMARC1", "v=DMARC2", "V=DMARC1", "v=dmarc1"]


def record(rng: random.Random) -> str:
    # Mistakes stand at the end of each list, and are rare.
    tags = []
    for name, values in _TAGS.items():
        if rng.random() < _CHANCES.get(name, 0.05):
            tags.append(f"{name}={rng.choice(values if rng.random() < 0.15 else values[:3])}")
    if tags and rng.random() < 0.03:
        tags.append(rng.choice(["p=none", "adkim=s", "rua=mailto:c@d.test"]))
    tags.insert(rng.choice([0] * 30 + [1]), rng.choice(_VERSIONS))
    return rng.choice(["; ", ";", " ; "]).join(tags) + rng.choice(["", ";", "; "])


def case_of(number: int, rng: random.Random) -> Case:
    """One with names of its own, for all of them are in one file."""
    suffix, bank, lan = f"co{number}.test", f"bank{number}.test", f"host{number}.lan"
    shop = f"shop.{suffix}"
    names = [bank, f"mail.{bank}", f"b.mail.{bank}", f"6.5.4.3.2.1.b.mail.{bank}", f"news.mail.{bank}", f"x{bank}"]
    names += [shop, f"web.{shop}", f"a.{bank}", suffix, lan, f"mail.{lan}", f"web.{lan}"]
    others = [*names, f"c.{bank}", f"web.{bank}", f"pop.{shop}", f"shop2.{suffix}", "test", "lan", "attack.example"]
    records: dict[str, list[str]] = {}
    for name in [*names, f"3.2.1.b.mail.{bank}"]:
        chance = rng.random()
        if chance < 0.45:
            records[name] = [record(rng)]
        elif chance < 0.5:
            records[name] = rng.choice([[record(rng), record(rng)], ["v=spf1 -all", record(rng)]])
    author = rng.choice(names[:-5] * 3 + names[-5:])
    near = [name for name in others if name.split(".")[-2:] == author.split(".")[-2:]] + [author]

    def domain() -> str:
        return rng.choice(near if rng.random() < 0.7 else others)

    outcomes = ["pass"] * 8 + ["fail", "temperror", "none"]
    return Case(
        author=author, sender=None if rng.random() < 0.1 else domain(), helo=domain(), spf=rng.choice(outcomes),
        dkim=[(domain(), rng.choice(outcomes)) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))], records=records,
        suffix=suffix, absent=rng.random() < 0.2,
    )  # fmt: skip


def explained(case: Case, theirs: tuple[str, str]) -> str:
    """The difference that alone makes ours theirs; else all that were needed together. Fails if that is not all."""
    read = case
    for each in DIFFERENCES:
        read = each.reads(read)
    assert asyncio.run(verdict(read)) == theirs, (case, read)
    if asyncio.run(verdict(case)) == theirs:
        return ""
    for each in DIFFERENCES:
        if asyncio.run(verdict(each.reads(case))) == theirs:
            return each.name
    return "several"


@dataclass
class Seen:
    """How often which difference, and which verdict without any, came."""

    differences: Counter[str] = field(default_factory=Counter)
    same: Counter[tuple[str, str]] = field(default_factory=Counter)


def compare(seed: int, count: int, home: Path) -> Seen:
    rng = random.Random(seed)
    cases = [case_of(number, rng) for number in range(count)]
    records = {name: text for case in cases for name, text in on_the_wire(case).items()}
    suffixes = [*SUFFIXES, *(case.suffix for case in cases)]
    seen = Seen()
    for case, theirs in zip(cases, asyncio.run(opendmarc(home, records, suffixes, map(asked, cases))), strict=True):
        difference = explained(case, theirs)
        if difference:
            seen.differences[difference] += 1
        else:
            seen.same[theirs] += 1
    return seen


def test_no_difference_without_a_reason(tmp_path: Path) -> None:
    seen = compare(1, 3000, tmp_path)
    assert set(seen.differences) == {each.name for each in DIFFERENCES} | {"several"}, seen.differences
    assert seen.same.total() > 1800, seen.same
    for each in (("pass", ""), ("none", ""), ("fail", "none"), ("fail", "quarantine"), ("fail", "reject")):
        assert seen.same[each] > 50, seen.same


def test_its_faults_in_the_smallest(tmp_path: Path) -> None:
    """When a later version mends them, this is where it shows."""
    strict = "v=DMARC1; p=reject; adkim=s"
    records = {"bank.test": [strict], "x.test": [strict], "shop.test": ["v=DMARC1; p=reject"]}
    passed, refused = ("pass", ""), ("fail", "reject")
    # The author, who signed, what we say, what it says.
    small = [
        ("bank.test", "bank.test", passed, passed), ("mail.bank.test", "bank.test", refused, refused),
        ("bank.test", "mail.bank.test", refused, passed), ("bank.test", "a.bank.test", refused, passed),
        ("x.test", "y.test", refused, passed), ("shop.test", "mail.shop.test", passed, passed),
        ("shop.test", "attack.test", refused, refused), ("shop.test", "test", refused, passed),
    ]  # fmt: skip
    cases = [Case(author, "far.example", "h", "none", [(d, "pass")], records, "test") for author, d, _, _ in small]
    assert [asyncio.run(verdict(case)) for case in cases] == [ours for _, _, ours, _ in small]
    told = asyncio.run(opendmarc(tmp_path, on_the_wire(cases[0]), SUFFIXES, map(asked, cases)))
    assert told == [theirs for _, _, _, theirs in small]


@pytest.mark.soak
def test_many(tmp_path: Path) -> None:
    compare(2, 20_000, tmp_path)
