"""The test suite of RFC 7208, all 203 cases (`tests/wire/spf_suite`: openspf.org's of 2014.04, with its licence)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from mailserver.plugins.spf.checking import SpfCheck
from tests.helpers.zones import ZoneResolver

_SUITE = Path(__file__).parents[2] / "wire" / "spf_suite" / "rfc7208-tests.json"
CASES = [
    pytest.param(scenario["zonedata"], case, id=name)
    for scenario in orjson.loads(_SUITE.read_bytes())
    for name, case in scenario["tests"].items()
]


def test_all_are_there() -> None:
    assert len(CASES) == 203


@pytest.mark.parametrize(("zones", "case"), CASES)
async def test_a_case(zones: dict[str, Any], case: dict[str, Any]) -> None:
    sender = case["mailfrom"] or f"postmaster@{case['helo']}"
    check = SpfCheck(ZoneResolver(zones), case["host"], case["helo"], sender)
    outcome = await check.run()
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert outcome.result in wanted, outcome
    if "explanation" in case:
        assert (await check.explain(outcome) or "DEFAULT") == case["explanation"]
