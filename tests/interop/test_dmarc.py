"""DMARC beside mailauth, which knows RFC 9989 too: on random trees of policies the same result, and the same wish.

One difference is of words: a record without a valid policy is `permerror` for us and `none` for it.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.findings import Findings
from mailserver.plugins.dmarc.evaluation import evaluate
from tests.helpers.judging import dkim, spf
from tests.helpers.zones import ZoneResolver
from tests.interop.programs import run
from tests.interop.second_opinions import NODE_ROOT, mailauth_there

pytestmark = [
    pytest.mark.interop, pytest.mark.skipif(not mailauth_there(), reason="not fetched: get-node-clients"),
]  # fmt: skip

DOMAINS = ["bank.test", "a.bank.test", "b.a.bank.test", "1.2.3.4.5.6.b.a.bank.test", "shop.co.test", "xbank.test"]
OTHERS = [*DOMAINS, "c.bank.test", "test", "co.test", "bank.test.xbank.test", "bank.example"]
PARENTS = ["test", "co.test", *(f"{n}.b.a.bank.test" for n in (6, "5.6", "4.5.6"))]
_TAGS = {
    "p": ["none", "quarantine", "reject", "Reject", "rejct", ""], "sp": ["none", "quarantine", "reject", "x"],
    "np": ["none", "quarantine", "reject", ""], "adkim": ["r", "s", "S", "x"], "aspf": ["r", "s"],
    "psd": ["y", "n", "u", "N", "maybe"], "t": ["y", "n"], "rua": ["mailto:a@b.test", "nonsense"], "fo": ["1:d"],
    "unknown": ["x"],
}  # fmt: skip
_CHANCES = {"p": 0.95, "sp": 0.3, "np": 0.3, "adkim": 0.3, "aspf": 0.3, "psd": 0.25, "t": 0.2, "rua": 0.3}


def record(rng: random.Random) -> str:
    # Mistakes stand at the end of each list, and are rare.
    tags = []
    for name, values in _TAGS.items():
        if rng.random() < _CHANCES.get(name, 0.1):
            tags.append(f"{name}={rng.choice(values if rng.random() < 0.15 else values[:3])}")
    version = rng.choice(["v=DMARC1"] * 12 + ["v = DMARC1 ", "v=DMARC2", "v=dmarc1", "V=DMARC1"])
    return rng.choice(["; ", ";", " ; "]).join([version, *tags]) + rng.choice(["", ";", "; "])


def case(rng: random.Random) -> dict[str, Any]:
    names: dict[str, list[str] | None] = {}
    for domain in [*DOMAINS, *PARENTS]:
        chance = rng.random()
        if chance < 0.35:
            names[f"_dmarc.{domain}"] = [record(rng)]
        elif chance < 0.42:
            names[f"_dmarc.{domain}"] = rng.choice([[record(rng), record(rng)], ["v=spf1 -all", record(rng)], []])
        elif chance < 0.47:
            names[f"_dmarc.{domain}"] = None
        if rng.random() < 0.6:
            names[domain] = []
    return {
        "names": names, "author": rng.choice(DOMAINS), "spf": rng.sample(OTHERS, rng.choice([0, 1])),
        "dkim": rng.sample(OTHERS, rng.choice([0, 0, 1, 2, 3])),
    }  # fmt: skip


def theirs(home: Path, cases: list[dict[str, Any]]) -> list[tuple[str, str]]:
    script = home / "policies.mjs"
    shutil.copy(Path(__file__).parent / "node" / "policies.mjs", script)
    (home / "node_modules").symlink_to(NODE_ROOT / "node_modules")
    done = run(["node", script], home, stdin=json.dumps(cases).encode(), timeout=100)
    assert done.code == 0, done.output[-2000:]
    return [(result, policy) for result, policy in json.loads(done.output.splitlines()[-1])]


async def ours(given: dict[str, Any]) -> tuple[str, str]:
    zones = {
        name: ["TIMEOUT"] if texts is None else [{"TXT": text} for text in texts]
        for name, texts in given["names"].items()
    }
    sender = EmailAddress("a", given["spf"][0] if given["spf"] else "none.test")
    results = [*(spf(domain) for domain in given["spf"]), *(dkim(domain) for domain in given["dkim"])]
    found = await evaluate(ZoneResolver(zones), given["author"], sender, "h.test", Findings(tuple(results)))
    wanted = "none" if found.policy is None else found.policy.wanted
    return ("none" if found.result == "permerror" else found.result), wanted


def compare(seed: int, count: int, home: Path) -> dict[str, int]:
    """How often each result came."""
    rng = random.Random(seed)
    cases = [case(rng) for _ in range(count)]
    seen: dict[str, int] = {}
    for given, (result, policy) in zip(cases, theirs(home, cases), strict=True):
        our_result, wanted = asyncio.run(ours(given))
        assert our_result == result, (our_result, result, given)
        if result == "fail":
            assert wanted == policy, (wanted, policy, given)
        seen[result] = seen.get(result, 0) + 1
    return seen


def test_the_same_result_and_the_same_wish(tmp_path: Path) -> None:
    seen = compare(1, 1000, tmp_path)
    assert all(seen[result] > 30 for result in ("pass", "fail", "none", "temperror")), seen


@pytest.mark.soak
def test_many(tmp_path: Path) -> None:
    compare(2, 20_000, tmp_path)
