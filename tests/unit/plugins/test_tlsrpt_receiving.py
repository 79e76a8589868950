"""Reports of others about us: what is kept of them."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.tls_reporting import World
from tests.helpers.tls_reports import EXAMPLE, mailed


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


async def test_a_report_of_others_is_kept(world: World) -> None:
    world.served.append("company-y.example")
    await world.arrives(mailed(EXAMPLE))
    (row,) = (await world.shown())["received"]
    assert (row["organisation"], row["domain"]) == ("Company-X", "company-y.example")
    assert (row["good"], row["bad"]) == (5326, 303)
    assert len(row["failures"]) == 3


async def test_only_the_policies_about_us_are_kept(world: World) -> None:
    """Of DANE, the policy is that of the mail server's name."""
    report = copy.deepcopy(EXAMPLE)
    report["policies"] = [copy.deepcopy(EXAMPLE["policies"][0]) for _ in range(4)]
    for policy, domain in zip(report["policies"], ("x.test", "mail.example.test", "other.test", "y.test"), strict=True):
        policy["policy"]["policy-domain"] = domain
    for _ in range(2):
        await world.arrives(mailed(report))
    assert [row["domain"] for row in (await world.shown())["received"]] == ["other.test", "mail.example.test"]
