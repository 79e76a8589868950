"""A day of TLS reports: what is counted, and what is sent; ATTACKS F08."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from mailserver.api import Notify, Queued, WebFailed
from mailserver.plugins.tlsrpt import database
from tests.helpers.tls_reporting import DANE, FAR, OPPORTUNISTIC, STS, TODAY, World, attached, parsed, tls


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


async def test_counts_have_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MOST_DOMAINS", 3)
    monkeypatch.setattr(database, "MOST_POLICIES", 2)
    monkeypatch.setattr(database, "MOST_FAILURES", 4)
    for number in range(9):
        world.count(tls(f"d{number}.test"), tls("d0.test", replace(STS, text=(str(number),))))
        world.count(tls("d1.test", failure="validation-failure", detail=str(number)))
        await world.shown()
    rows = {row["domain"]: row["policies"] for row in (await world.shown())["sent"]}
    assert {domain: len(policies) for domain, policies in rows.items()} == {"d0.test": 2, "d1.test": 1, "d2.test": 1}
    failures = rows["d1.test"][0]["failures"]
    assert rows["d1.test"][0]["bad"] == sum(failure["count"] for failure in failures) == 9
    assert len(failures) == 5 and {failure["result"] for failure in failures} == {"validation-failure"}


async def test_counts_in_memory_have_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.plugins.tlsrpt.collecting._MOST_KEYS", 3)
    monkeypatch.setattr("mailserver.plugins.tlsrpt.collecting._MOST_KINDS", 2)
    world.count(*(tls(f"d{number}.test") for number in range(9)))
    world.count(*(tls("d0.test", failure="validation-failure", detail=str(number)) for number in range(9)))
    rows = {row["domain"]: row["policies"][0] for row in (await world.shown())["sent"]}
    assert len(rows) == 3 and rows["d0.test"]["bad"] == 9 and len(rows["d0.test"]["failures"]) == 3


async def test_days_are_apart_and_kept_for_two_weeks(world: World) -> None:
    for _ in range(20):
        world.count(tls())
        await world.next_day()
    days = [row["day"] for row in (await world.shown())["sent"]]
    assert (days[0], len(days)) == ("2027-02-03", 14)


# what is sent


async def test_by_mail(world: World) -> None:
    world.asks("mailto:tls@reports.test")
    world.count(tls(), tls(failure="starttls-not-supported"))
    await world.next_day()
    ((queue_id, (envelope, octets)),) = world.queued.items()
    assert envelope.own and str(envelope.sender) == "postmaster@example.test"
    (recipient,) = envelope.recipients
    assert str(recipient.address) == "tls@reports.test" and recipient.notify == {Notify.NEVER}
    message = parsed(octets)
    assert message["Subject"] == (
        f"Report Domain: far.test Submitter: example.test Report-ID: <{TODAY}.far.test@example.test>"
    )
    assert (message["TLS-Report-Domain"], message["TLS-Report-Submitter"]) == ("far.test", "example.test")
    assert (message["TLS-Required"], message["To"]) == ("No", "tls@reports.test")
    assert message["From"] == '"example.test" <postmaster@example.test>'
    assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "tlsrpt"
    text, file = message.iter_parts()
    assert "MTA-STS (far.test): 1 sessions good, 1 failed" in text.get_content()
    assert file.get_filename() == "example.test!far.test!1799971200!1800057599.json.gz"
    assert attached(octets)["policies"][0]["summary"]["total-failure-session-count"] == 1
    assert [event.queue_id for event in world.events if isinstance(event, Queued)] == [queue_id]
    assert await world.state() == "sent"
    assert await world.next_day() == 0 and len(world.queued) == 1


async def test_who_sends_is_configured(tmp_path: Path) -> None:
    given = {"contact": "tls@other.test", "organisation": "Bäckerei", "copies": ["anna@example.test"]}
    async with World(tmp_path, **given).running() as world:
        world.asks("mailto:tls@far.test")
        world.count(tls())
        await world.next_day()
        report, copy = world.queued.values()
        assert parsed(report[1])["From"] == "Bäckerei <tls@other.test>"
        assert attached(report[1])["contact-info"] == "tls@other.test"
        assert [str(one.address) for one in copy[0].recipients] == ["anna@example.test"]
        world.served.remove("other.test")
        world.count(tls())
        await world.next_day()
        assert str(list(world.queued.values())[-1][0].sender) == "postmaster@example.test"


async def test_nobody_asks(world: World) -> None:
    world.count(tls())
    assert await world.next_day() == 1
    assert (await world.state(), world.queued, world.posts) == ("unwanted", {}, [])
    assert await world.next_day() == 0


async def test_switched_off(tmp_path: Path) -> None:
    async with World(tmp_path, send=False).running() as world:
        world.asks("mailto:tls@far.test")
        world.count(tls())
        assert await world.next_day() == 0 and world.queued == {}
        assert (await world.shown())["sent"][0]["policies"][0]["good"] == 1


async def test_reports_are_spread_over_the_night(world: World) -> None:
    domains = [f"d{number}.test" for number in range(200)]
    world.count(*(tls(domain) for domain in domains))
    moments = sorted(row["next"] - 1800057600 for row in (await world.shown())["sent"])
    assert 0 <= moments[0] < 1800 < 12600 < moments[-1] <= 4 * 3600


async def test_a_failure_is_tried_again_for_a_day(world: World) -> None:
    """RFC 8460 §5.5."""
    world.asks("https://reports.far.test/tls")
    world.answers["https://reports.far.test/tls"] = 500
    world.count(tls())
    await world.next_day()
    assert (await world.state(), len(world.posts)) == ("waiting", 1)
    world.clock.advance(200)
    assert await world.send() == 0
    world.clock.advance(101)
    world.answers["https://reports.far.test/tls"] = WebFailed("refused")
    assert await world.send() == 1
    tries = 0
    while await world.state() == "waiting":
        world.clock.advance(4 * 3600)
        tries += await world.send()
    assert tries == 6
    (row,) = (await world.shown())["sent"]
    assert (row["state"], row["trouble"]) == ("failed", "https://reports.far.test/tls: refused")


async def test_dns_that_fails_is_asked_again(world: World) -> None:
    world.count(tls())
    world.dns.fails("txt", "_smtp._tls.far.test")
    await world.next_day()
    assert await world.state() == "waiting"
    world.asks("mailto:tls@far.test")
    world.clock.advance(301)
    await world.send()
    assert (await world.state(), len(world.queued)) == ("sent", 1)


async def test_one_place_is_enough(world: World) -> None:
    """RFC 8460 §3."""
    world.asks("https://gone.far.test/", "mailto:tls@far.test")
    world.count(tls())
    await world.next_day()
    (row,) = (await world.shown())["sent"]
    assert (row["state"], row["told"]) == ("sent", ["mailto:tls@far.test"])
    assert "gone.far.test" in row["trouble"]


async def test_a_crash_behind_a_delivery_repeats_it_with_the_same_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue does not take it again while it is there; and where it is gone, its report's id tells."""
    world = World(tmp_path)
    real = database.mark

    class Killed(BaseException):
        pass

    def killed(*given: Any, **changes: Any) -> None:
        raise Killed

    async with world.running():
        world.asks("mailto:tls@far.test", "https://reports.far.test/tls")
        world.answers["https://reports.far.test/tls"] = 200
        world.count(tls())
        monkeypatch.setattr(database, "mark", killed)
        with pytest.raises(BaseExceptionGroup):
            await world.next_day()
    assert (len(world.queued), len(world.posts)) == (1, 0)
    first = dict(world.queued)
    monkeypatch.setattr(database, "mark", real)
    async with world.running():
        await world.send()
        assert (await world.state(), len(world.posts)) == ("sent", 1)
        assert world.queued == first
        await world.send()
    assert len(world.posts) == 1


async def test_what_was_told_is_not_told_again(world: World) -> None:
    """The copies fail when the report is out."""
    world.settings.copies.append("anna@example.test")
    world.asks("https://reports.far.test/tls")
    world.answers["https://reports.far.test/tls"] = 200
    world.count(tls())
    world.broken = True
    await world.next_day()
    assert (await world.state(), len(world.posts)) == ("waiting", 1)
    world.broken = False
    world.clock.advance(301)
    await world.send()
    assert (await world.state(), len(world.posts), len(world.queued)) == ("sent", 1, 1)
