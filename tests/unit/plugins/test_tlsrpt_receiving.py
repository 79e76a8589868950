"""Reports of others about us: what is kept of them, and the record that brings them."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.api import EmailAddress, Envelope, MessageContext, QueueId, Recipient
from mailserver.plugins.tlsrpt import receiving
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_session
from tests.helpers.tls_reporting import DAY, World
from tests.helpers.tls_reports import EXAMPLE, mailed


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


async def test_a_report_of_others_is_kept(world: World) -> None:
    world.served.append("company-y.example")
    await world.arrives(mailed(EXAMPLE))
    (row,) = (await world.shown())["received"]
    assert (row["reporter"], row["domain"], row["good"], row["bad"]) == ("Company-X", "company-y.example", 5326, 303)
    assert len(row["failures"]) == 3
    await world.arrives(mailed(EXAMPLE))
    assert len((await world.shown("company-y.example"))["received"]) == 1
    assert (await world.shown("example.test"))["received"] == []
    world.clock.advance(91 * DAY)
    await world.send()
    assert (await world.shown())["received"] == []


async def test_about_other_domains_only_at_the_addresses_that_are_listed(tmp_path: Path) -> None:
    async with World(tmp_path, receive_at=["tls@example.test"]).running() as world:
        await world.arrives(mailed(EXAMPLE))
        assert (await world.shown())["received"] == []
        # However it is packed there.
        plain = mailed(EXAMPLE).replace(b"multipart/report; report-type=\"tlsrpt\"", b"multipart/mixed")
        await world.arrives(plain, "TLS@example.test")
        assert len((await world.shown())["received"]) == 1


async def test_what_was_refused_is_not_kept(world: World) -> None:
    world.served.append("company-y.example")
    await world.arrives(mailed(EXAMPLE), accepted=False)
    assert (await world.shown())["received"] == []


async def test_other_mail_costs_no_task(world: World) -> None:
    (hook,) = world.registry.hooks["on_message"]
    content = BytesContent(b"Subject: tlsrpt\r\n\r\nHello\r\n")
    envelope = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse("anna@example.test")),))
    ctx = MessageContext(session=make_session(), queue_id=QueueId("1"), envelope=envelope, content=content)
    assert hook(ctx) is None


async def test_hostile_reports_change_nothing(world: World) -> None:
    world.served.append("company-y.example")
    for octets in (b"", b"x", gzip.compress(b"[" * 9999), gzip.compress(b" " * 20_000_000), b"\x1f\x8b" * 500):
        await world.arrives(mailed(octets))
    await world.arrives(mailed(EXAMPLE)[:1000])
    assert (await world.shown())["received"] == []


async def test_a_flood_of_reports_pushes_nothing_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MOST_A_DAY", 3)
    world.served.append("company-y.example")
    for number in range(9):
        await world.arrives(mailed(EXAMPLE | {"report-id": "x" * number}))
    assert len((await world.shown())["received"]) == 3


async def test_the_record_to_publish(tmp_path: Path) -> None:
    async with World(tmp_path, receive_at=["tls@example.test"]).running() as world:
        world.asks("mailto:x@example.test", domain="other.test")
        assert (await world.shown())["records"] == [
            {"name": "_smtp._tls.example.test", "text": "v=TLSRPTv1; rua=mailto:tls@example.test", "published": []},
            {
                "name": "_smtp._tls.other.test", "text": "v=TLSRPTv1; rua=mailto:tls@example.test",
                "published": ["v=TLSRPTv1; rua=mailto:x@example.test"],
            },
        ]  # fmt: skip
        world.dns.fails("txt", "_smtp._tls.example.test")
        (row,) = (await world.shown("example.test"))["records"]
        assert row["published"] is None
