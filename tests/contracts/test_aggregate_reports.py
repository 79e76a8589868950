"""What both kinds of aggregate reports do alike: a day is counted and sent to who asks for it; others' are read, kept
and forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailserver.api import Notify, Queued
from mailserver.plugins.aggregate_reports import collecting, database, receiving
from tests.helpers import dmarc_reporting, tls_reporting
from tests.helpers.aggregate_reporting import DAY, FAR, TODAY, AggregateWorld, parsed

KINDS = [dmarc_reporting.World, tls_reporting.World]
MIDNIGHT = 1800057600


@pytest.fixture(params=KINDS, ids=lambda kind: kind.plugin.name)
def kind(request: pytest.FixtureRequest) -> type[AggregateWorld]:
    found: type[AggregateWorld] = request.param
    return found


@pytest.fixture
async def world(kind: type[AggregateWorld], tmp_path: Path) -> AsyncIterator[AggregateWorld]:
    async with kind(tmp_path).running() as running:
        yield running


def limit(world: AggregateWorld, monkeypatch: pytest.MonkeyPatch, **fields: int) -> None:
    kind = world.registry.hooks["on_message"][0].__self__._kind  # type: ignore[attr-defined]
    monkeypatch.setattr(type(kind), "limits", replace(kind.limits, **fields))


# what is counted


async def test_days_and_domains_are_apart_and_kept_for_two_weeks(world: AggregateWorld) -> None:
    world.asks("mailto:r@far.test")
    for _ in range(20):
        world.count(world.one(), world.one("b.test"))
        await world.next_day()
    rows = (await world.shown())["sent"]
    assert (rows[0]["day"], len(rows)) == ("2027-02-03", 28)
    assert len((await world.shown("b.test"))["sent"]) == 14


async def test_a_restart_loses_nothing(kind: type[AggregateWorld], tmp_path: Path) -> None:
    world = kind(tmp_path)
    async with world.running():
        world.count(world.one())
    async with world.running():
        assert (await world.row())["day"] == TODAY


async def test_reports_are_spread_over_the_night(world: AggregateWorld) -> None:
    world.count(*(world.one(f"d{number}.test") for number in range(200)))
    moments = sorted(row["next"] - MIDNIGHT for row in (await world.shown())["sent"])
    assert 0 <= moments[0] < 1800 < 12600 < moments[-1] <= 4 * 3600


async def test_domains_and_rows_of_a_day_have_bounds(world: AggregateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MOST_DOMAINS", 2)
    monkeypatch.setattr(database, "_MOST_COARSE", 0)
    limit(world, monkeypatch, rows=3)
    for number in range(5):
        world.count(world.one(number=number), world.one(f"d{number}.test"))
        await world.shown()
    assert {row["domain"] for row in (await world.shown())["sent"]} == {FAR, "d0.test"}
    with sqlite3.connect(world.host.data_dir / ".server" / f"{world.plugin.name}.db") as db:
        assert db.execute("SELECT count(*) FROM record WHERE report = 1").fetchone() == (3,)
        assert db.execute("SELECT lost FROM report WHERE id = 1").fetchone() == (2,)
    db.close()


async def test_counts_in_memory_have_bounds(world: AggregateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_MOST_KINDS", 3)
    world.count(*(world.one(f"d{number}.test") for number in range(9)))
    assert [row["domain"] for row in (await world.shown())["sent"]] == ["d0.test", "d1.test", "d2.test"]


# what is sent


async def test_the_message(world: AggregateWorld) -> None:
    world.asks("mailto:r@far.test")
    world.count(world.one())
    assert await world.send() == 0 and await world.next_day() == 1
    ((queue_id, (envelope, octets)),) = world.queued.items()
    (recipient,) = envelope.recipients
    assert envelope.own and recipient.notify == {Notify.NEVER} and str(recipient.address) == "r@far.test"
    message = parsed(octets)
    assert message["Subject"] == (
        f"Report Domain: far.test Submitter: example.test Report-ID: <{TODAY}.far.test@example.test>"
    )
    assert message["From"] == '"example.test" <postmaster@example.test>'
    assert (message["Auto-Submitted"], message["To"]) == ("auto-generated", "r@far.test")
    text, file = message.iter_parts()
    assert f"from example.test about far.test,\nfor {TODAY} (UTC)" in text.get_content().replace("\r\n", "\n")
    assert file.get_content_type() == world.media_type
    assert str(file.get_filename()).startswith("example.test!far.test!1799971200!1800057599.")
    assert [event.queue_id for event in world.events if isinstance(event, Queued)] == [queue_id]
    row = await world.row()
    assert (row["state"], row["told"]) == ("sent", ["mailto:r@far.test"])
    assert await world.next_day() == 0 and len(world.queued) == 1


async def test_people_are_not_told_thousands_of_lines(world: AggregateWorld) -> None:
    world.asks("mailto:r@far.test")
    world.count(*(world.one(number=number) for number in range(200)))
    await world.next_day()
    ((_, octets),) = world.queued.values()
    text, _ = parsed(octets).iter_parts()
    assert 50 < len(text.get_content().splitlines()) < 60 and " more" in text.get_content()


async def test_who_sends_is_configured(kind: type[AggregateWorld], tmp_path: Path) -> None:
    given = {"contact": "r@other.test", "organisation": "Bäckerei", "copies": ["anna@example.test"]}
    async with kind(tmp_path, **given).running() as world:
        world.asks("mailto:r@far.test")
        world.count(world.one())
        await world.next_day()
        assert world.sent_to() == ["r@far.test", "anna@example.test"]
        assert [parsed(octets)["From"] for _, octets in world.queued.values()] == ["Bäckerei <r@other.test>"] * 2
        world.served.remove("other.test")
        world.count(world.one())
        await world.next_day()
        assert "postmaster@example.test" in parsed(list(world.queued.values())[-1][1])["From"]
        world.served.clear()
        world.count(world.one())
        assert await world.next_day() == 0, "nobody could sign them"


@pytest.mark.parametrize("fields", [{"contact": "x"}, {"copies": ["@y"]}, {"receive_at": ["ä@example.test"]}])
def test_settings_name_addresses(kind: type[AggregateWorld], tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="address"):
        kind(tmp_path, **fields)


async def test_switched_off(kind: type[AggregateWorld], tmp_path: Path) -> None:
    async with kind(tmp_path, send=False).running() as world:
        world.asks("mailto:r@far.test")
        world.count(world.one())
        assert await world.next_day() == 0 and world.queued == {}


async def test_nobody_asks(world: AggregateWorld) -> None:
    world.count(world.one())
    assert await world.next_day() == 1
    assert ((await world.row())["state"], world.queued) == ("unwanted", {})
    assert await world.next_day() == 0


async def test_dns_that_fails_is_asked_again(world: AggregateWorld) -> None:
    world.count(world.one())
    world.dns.fails("txt", f"{world.record[0]}.far.test")
    await world.next_day()
    row = await world.row()
    assert row["state"] == "waiting" and "cannot be looked up" in row["trouble"]
    world.asks("mailto:r@far.test")
    world.clock.advance(200)
    assert await world.send() == 0
    world.clock.advance(101)
    assert await world.send() == 1
    assert ((await world.row())["state"], len(world.queued)) == ("sent", 1)


async def test_it_is_given_up_after_a_day(world: AggregateWorld) -> None:
    """RFC 8460 §5.5."""
    world.dns.fails("txt", f"{world.record[0]}.far.test")
    world.count(world.one())
    await world.next_day()
    tries = 0
    while (await world.row())["state"] == "waiting":
        world.clock.advance(4 * 3600)
        tries += await world.send()
    row = await world.row()
    assert (tries, row["state"]) == (6, "failed") and "cannot be looked up" in row["trouble"]


async def test_a_full_disk_and_a_restart(kind: type[AggregateWorld], tmp_path: Path) -> None:
    world = kind(tmp_path)
    async with world.running():
        world.asks("mailto:r@far.test")
        world.count(world.one())
        world.broken = True
        await world.next_day()
        row = await world.row()
        assert row["state"] == "waiting" and "the disk is full" in row["trouble"]
    world.broken = False
    world.clock.advance(DAY / 2)
    async with world.running():
        assert await world.send() == 1 and len(world.queued) == 1


async def test_one_report_that_cannot_be_made_does_not_stop_the_others(
    world: AggregateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.asks("mailto:r@far.test")
    real = world.dns.txt

    async def broken(name: str) -> Any:
        if "b.test" in name:
            raise ZeroDivisionError
        return await real(name)

    monkeypatch.setattr(world.dns, "txt", broken)
    world.count(world.one("b.test"), world.one())
    assert await world.next_day() == 2
    rows = {row["domain"]: (row["state"], row["trouble"]) for row in (await world.shown())["sent"]}
    assert rows == {"b.test": ("waiting", "internal error"), FAR: ("sent", "")}


async def test_a_crash_behind_a_delivery_repeats_it_with_the_same_ids(
    kind: type[AggregateWorld], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue does not take it again while it is there; and where it is gone, its report's id tells."""
    world = kind(tmp_path)
    real = database.mark

    class Killed(BaseException):
        pass

    def killed(*given: Any, **changes: Any) -> None:
        raise Killed

    async with world.running():
        world.asks("mailto:r@far.test", "mailto:s@far.test")
        world.count(world.one())
        monkeypatch.setattr(database, "mark", killed)
        with pytest.raises(BaseExceptionGroup):
            await world.next_day()
    assert world.sent_to() == ["r@far.test"]
    first = dict(world.queued)
    monkeypatch.setattr(database, "mark", real)
    async with world.running():
        await world.send()
        assert (await world.row())["state"] == "sent"
        assert world.sent_to() == ["r@far.test", "s@far.test"] and first.items() <= world.queued.items()
        assert await world.send() == 0


async def test_what_was_told_is_not_told_again(kind: type[AggregateWorld], tmp_path: Path) -> None:
    """The copies fail when the report is out."""
    async with kind(tmp_path, copies=["full@example.test"]).running() as world:
        world.asks("mailto:r@far.test")
        world.count(world.one())
        world.full = "full@example.test"
        await world.next_day()
        assert ((await world.row())["state"], world.sent_to()) == ("waiting", ["r@far.test"])
        sent, world.full = set(world.queued), ""
        world.queued.clear()
        world.clock.advance(301)
        await world.send()
        assert ((await world.row())["state"], world.sent_to()) == ("sent", ["full@example.test"])
        assert not sent & set(world.queued)


# what others send


async def test_a_report_of_others_is_kept(world: AggregateWorld) -> None:
    first = world.clock.time()
    for _ in range(2):
        await world.arrives(world.theirs())
        world.clock.advance(60)
    (row,) = (await world.shown("example.test"))["received"]
    assert (row["domain"], row["at"]) == ("example.test", first) and row["organisation"]
    assert (await world.shown("other.test"))["received"] == []
    world.clock.advance(89 * DAY)
    await world.send()
    assert len((await world.shown())["received"]) == 1
    world.clock.advance(2 * DAY)
    await world.send()
    assert (await world.shown())["received"] == []


async def test_about_other_domains_only_at_the_addresses_that_are_listed(
    kind: type[AggregateWorld], tmp_path: Path
) -> None:
    async with kind(tmp_path, receive_at=["r@example.test"]).running() as world:
        message = world.theirs("elsewhere.test")
        await world.arrives(message)
        assert (await world.shown())["received"] == []
        # By whatever sign it is known elsewhere.
        message = message.replace(b"Report Domain:", b"Hello").replace(b'report-type="tlsrpt"', b"x=y")
        await world.arrives(message, "R@example.test")
        (row,) = (await world.shown())["received"]
        assert row["domain"] == "elsewhere.test"


async def test_what_was_refused_is_not_kept(world: AggregateWorld) -> None:
    await world.arrives(world.theirs(), accepted=False)
    assert (await world.shown())["received"] == []


async def test_other_mail_costs_no_task(world: AggregateWorld) -> None:
    (hook,) = world.registry.hooks["on_message"]
    for text in (b"Subject: Hello\r\n\r\nReport Domain: tlsrpt\r\n", b"Subject: Re: Report Domain: tlsrpt\r\n\r\n"):
        assert hook(world.incoming(text)) is None


async def test_what_waits_has_bounds(world: AggregateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = world.registry.hooks["on_message"][0].__self__  # type: ignore[attr-defined]
    monkeypatch.setattr(receiving, "_MOST_WAITING", 3)
    for number in range(9):
        await world.arrives(world.theirs() + b"x" * number, accepted=False)
    assert len(receiver._waiting) == 3
    monkeypatch.setattr(receiving, "_MOST_OCTETS", 2 * len(world.theirs()) + 99)
    await world.arrives(world.theirs() + b"x" * 10, accepted=False)
    assert len(receiver._waiting) == 2


async def test_a_large_message_is_not_read(world: AggregateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_MAX_MESSAGE", 100)
    await world.arrives(world.theirs())
    assert (await world.shown())["received"] == []


async def test_l14_what_is_damaged_changes_nothing(world: AggregateWorld) -> None:
    for message in world.damaged():
        await world.arrives(message)
    assert (await world.shown())["received"] == []


async def test_a_flood_of_reports_pushes_nothing_out(world: AggregateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(world, monkeypatch, day=8)
    for number in range(12):
        await world.arrives(world.theirs(number=number))
    rows = (await world.shown())["received"]
    assert {row["report_id"] for row in rows} >= {"1", "11"} and len(rows) <= 8
    world.clock.advance(DAY + 1)
    await world.arrives(world.theirs(number=20))
    assert len((await world.shown())["received"]) == len(rows) + 1


async def test_only_so_many_are_kept_in_all(world: AggregateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(world, monkeypatch, kept=3)
    for number in range(5):
        await world.arrives(world.theirs(number=number))
    assert [row["report_id"] for row in (await world.shown())["received"]] == ["11111", "1111", "111"]


async def test_the_record_that_brings_reports(kind: type[AggregateWorld], tmp_path: Path) -> None:
    async with kind(tmp_path, receive_at=["r@example.test"]).running() as world:
        prefix, version = world.record
        world.asks("mailto:x@other.test", domain="other.test")
        rows = {row["name"]: row for row in (await world.shown())["records"]}
        missing, present = rows[f"{prefix}.example.test"], rows[f"{prefix}.other.test"]
        assert (missing["published"], missing["asks"]) == ([], False)
        assert missing["text"].endswith("; rua=mailto:r@example.test")
        assert (present["published"], present["asks"]) == ([f"{version}; rua=mailto:x@other.test"], True)
        world.dns.has("txt", f"{prefix}.other.test", f"{version};".encode())
        rows = {row["name"]: row for row in (await world.shown("other.test"))["records"]}
        assert not rows[f"{prefix}.other.test"]["asks"] and f"{prefix}.example.test" not in rows
        world.dns.fails("txt", f"{prefix}.example.test")
        (row,) = (await world.shown("example.test"))["records"]
        assert row["published"] is None and not row["asks"]
