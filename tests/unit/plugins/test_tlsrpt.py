"""A day of TLS reports: what is counted, and what is sent; ATTACKS F08."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from mailserver.api import WebFailed
from mailserver.plugins.aggregate_reports import collecting
from mailserver.plugins.aggregate_reports.tlsrpt import TlsReports
from tests.helpers.aggregate_reporting import FAR, TODAY, parsed
from tests.helpers.tls_reporting import DANE, OPPORTUNISTIC, STS, World, tls


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


# what is counted


async def test_the_report_of_a_day(world: World) -> None:
    world.asks("https://reports.far.test/tls")
    world.answers["https://reports.far.test/tls"] = 201
    world.count(
        tls(), tls(), tls(failure="certificate-expired", detail="expired\r\nyesterday"), tls(policy=DANE),
        tls(failure="certificate-expired", detail="expired\r\nyesterday"), tls(policy=OPPORTUNISTIC),
    )  # fmt: skip
    assert await world.send() == 0
    assert await world.next_day() == 1
    ((_, body, media_type),) = world.posts
    assert media_type == "application/tlsrpt+gzip"
    assert orjson.loads(gzip.decompress(body)) == {
        "organization-name": "example.test",
        "date-range": {"start-datetime": f"{TODAY}T00:00:00Z", "end-datetime": f"{TODAY}T23:59:59Z"},
        "contact-info": "postmaster@example.test",
        "report-id": f"{TODAY}.far.test@example.test",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts", "policy-string": list(STS.text), "policy-domain": FAR,
                    "mx-host": ["*.far.test"],
                },
                "summary": {"total-successful-session-count": 2, "total-failure-session-count": 2},
                "failure-details": [
                    {
                        "result-type": "certificate-expired", "sending-mta-ip": "9.9.9.9",
                        "receiving-mx-hostname": "mx.far.test", "receiving-ip": "192.0.2.25",
                        "failed-session-count": 2, "failure-reason-code": "expired??yesterday",
                    }
                ],
            },
            {
                "policy": {"policy-type": "tlsa", "policy-string": list(DANE.text), "policy-domain": "mx.far.test"},
                "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": FAR},
                "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
            },
        ],
    }  # fmt: skip


async def test_f08_connections_for_our_own_mail_do_not_count(world: World) -> None:
    world.asks("mailto:tls@far.test")
    world.count(tls(own=True), tls(own=True, failure="certificate-expired"))
    assert await world.next_day() == 0
    assert (await world.shown())["sent"] == [] and world.queued == {}


@pytest.mark.parametrize("source", ["10.0.0.1", "fe80::1", ""])
async def test_addresses_of_our_own_network_are_not_told(world: World, source: str) -> None:
    world.count(tls(source=source, failure="certificate-expired"))
    (row,) = (await world.shown())["sent"]
    assert row["policies"][0]["failures"][0]["source"] == ""


@pytest.mark.parametrize("domain", ["[192.0.2.1]", "192.0.2.1", "localhost", "a b.test"])
async def test_what_can_have_no_record_does_not_count(world: World, domain: str) -> None:
    world.count(tls(domain, host="x"))
    assert (await world.shown())["sent"] == []


@pytest.mark.parametrize("where", ["on disk", "in memory"])
async def test_of_too_many_kinds_of_failure_the_result_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "on disk":
        monkeypatch.setattr(TlsReports, "limits", replace(TlsReports.limits, rows=4))
    else:
        monkeypatch.setattr(collecting, "_MOST_KINDS", 4)
    for number in range(9):
        world.count(tls(failure="validation-failure", detail=str(number)))
    (policy,) = (await world.row())["policies"]
    failures = policy["failures"]
    assert policy["bad"] == sum(failure["count"] for failure in failures) == 9
    assert len(failures) == 5 and {failure["result"] for failure in failures} == {"validation-failure"}
    assert (failures[0]["count"], failures[0]["reason"], failures[0]["host"]) == (5, "", "")


# what is sent


async def test_by_mail(world: World) -> None:
    world.asks("mailto:tls@reports.test")
    world.count(tls(), tls(failure="starttls-not-supported"))
    await world.next_day()
    ((envelope, octets),) = world.queued.values()
    assert str(envelope.sender) == "postmaster@example.test"
    message = parsed(octets)
    assert (message["TLS-Report-Domain"], message["TLS-Report-Submitter"]) == ("far.test", "example.test")
    assert message["TLS-Required"] == "No"
    assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "tlsrpt"
    text, file = message.iter_parts()
    assert "MTA-STS (far.test): 1 sessions good, 1 failed" in text.get_content()
    assert str(file.get_filename()).endswith(".json.gz")
    assert orjson.loads(world.file())["policies"][0]["summary"]["total-failure-session-count"] == 1


async def test_switched_off_it_is_counted_still(tmp_path: Path) -> None:
    async with World(tmp_path, send=False).running() as world:
        world.count(tls())
        assert (await world.row())["policies"][0]["good"] == 1


async def test_a_failure_is_tried_again_for_a_day(world: World) -> None:
    """RFC 8460 §5.5."""
    world.asks("https://reports.far.test/tls")
    world.answers["https://reports.far.test/tls"] = 500
    world.count(tls())
    await world.next_day()
    assert ((await world.row())["state"], len(world.posts)) == ("waiting", 1)
    world.clock.advance(200)
    assert await world.send() == 0
    world.clock.advance(101)
    world.answers["https://reports.far.test/tls"] = WebFailed("refused")
    assert await world.send() == 1
    tries = 0
    while (await world.row())["state"] == "waiting":
        world.clock.advance(4 * 3600)
        tries += await world.send()
    assert tries == 6
    (row,) = (await world.shown())["sent"]
    assert (row["state"], row["trouble"]) == ("failed", "https://reports.far.test/tls: refused")


async def test_one_place_is_enough(world: World) -> None:
    """RFC 8460 §3."""
    world.asks("https://gone.far.test/", "mailto:tls@far.test")
    world.count(tls())
    await world.next_day()
    (row,) = (await world.shown())["sent"]
    assert (row["state"], row["told"]) == ("sent", ["mailto:tls@far.test"])
    assert "gone.far.test" in row["trouble"]

