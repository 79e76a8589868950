"""Reports of others about us: what is kept of them, the records that bring them; and that none leads to another."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.api import EmailAddress, Envelope, MessageContext, QueueId, Recipient
from mailserver.plugins.dmarc_report import database, receiving
from tests.helpers.content import BytesContent
from tests.helpers.dmarc_reporting import DAY, World, evaluated
from tests.helpers.dmarc_reports import EXAMPLE, example, mailed, zipped
from tests.helpers.plugins import make_session

PACKED = gzip.compress(EXAMPLE)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


def of(message: bytes) -> QueueId:
    return QueueId(f"{len(message):016}")


async def test_a_report_of_others_is_kept(world: World) -> None:
    message = mailed(PACKED)
    for _ in range(2):
        await world.arrives(message, event=evaluated(queue_id=of(message)))
    told = await world.shown("example.test")
    (row,) = told["received"]
    assert (row["organisation"], row["messages"], row["failed"], row["proved"]) == ("Far Mail", 130, 7, True)
    assert [one["source"] for one in row["rows"]] == ["192.0.2.123", "2001:db8::66"]
    assert [(one["source"], one["messages"], one["failed"]) for one in told["sources"]] == [
        ("2001:db8::66", 7, 7), ("192.0.2.123", 123, 0),
    ]  # fmt: skip
    assert (await world.shown("other.test"))["received"] == []
    world.clock.advance(91 * DAY)
    await world.send()
    assert (await world.shown())["received"] == []


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("application/zip", zipped(("x.xml", EXAMPLE))), ("application/x-zip-compressed", zipped(("x.xml", EXAMPLE))),
        ("text/xml", EXAMPLE), ("application/octet-stream", PACKED), ("APPLICATION/GZIP", PACKED),
    ],
)  # fmt: skip
async def test_however_it_is_packed(world: World, kind: str, file: bytes) -> None:
    await world.arrives(mailed(file, kind=kind))
    (row,) = (await world.shown())["received"]
    assert (row["messages"], row["proved"]) == (130, False)


async def test_about_other_domains_only_at_the_addresses_that_are_listed(tmp_path: Path) -> None:
    message = mailed(gzip.compress(example("elsewhere.test")))
    async with World(tmp_path, receive_at=["dmarc@example.test"]).running() as world:
        await world.arrives(message)
        assert (await world.shown())["received"] == []
        # Whatever its subject is there.
        await world.arrives(message.replace(b"Report Domain:", b"Hello"), "DMARC@example.test")
        (row,) = (await world.shown())["received"]
        assert row["domain"] == "elsewhere.test"


async def test_what_was_refused_is_not_kept(world: World) -> None:
    await world.arrives(mailed(PACKED), accepted=False)
    assert (await world.shown())["received"] == []


async def test_f08_a_report_is_in_no_report(world: World) -> None:
    message = mailed(PACKED)
    await world.arrives(message, event=evaluated(queue_id=of(message)))
    assert (await world.shown())["sent"] == []
    # One that only looks so does not hide from the domain that it claims to be from.
    await world.arrives(message, event=evaluated(queue_id=of(message), passed=False, disposition="reject"))
    assert len((await world.shown())["sent"]) == 1
    # Nor does other mail.
    world.count(evaluated())
    assert (await world.shown())["sent"][0]["messages"] == 2


async def test_f08_tls_reports_are_in_no_report_and_are_not_read(world: World, tmp_path: Path) -> None:
    message = mailed(PACKED).replace(b"multipart/mixed", b'multipart/report; report-type="tlsrpt"')
    await world.arrives(message, event=evaluated(queue_id=of(message)))
    told = await world.shown()
    assert (told["sent"], told["received"]) == ([], [])


async def test_other_mail_costs_no_task(world: World) -> None:
    (hook,) = world.registry.hooks["on_message"]
    envelope = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse("anna@example.test")),))
    for text in (b"Subject: Hello\r\n\r\nReport Domain: x\r\n", b"Subject: Re: Report Domain: x\r\n\r\n"):
        content = BytesContent(text)
        ctx = MessageContext(session=make_session(), queue_id=QueueId("1"), envelope=envelope, content=content)
        assert hook(ctx) is None


async def test_what_waits_has_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_MOST_WAITING", 3)
    monkeypatch.setattr(receiving, "_MOST_KNOWN", 3)
    for number in range(9):
        await world.arrives(mailed(PACKED) + b"x" * number, accepted=False)
    receiver = world.registry.hooks["on_message"][0].__self__  # type: ignore[attr-defined]
    assert len(receiver._waiting) == len(receiver._known) == 3


async def test_a_large_message_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_MAX_MESSAGE", 100)
    await world.arrives(mailed(PACKED))
    assert (await world.shown())["received"] == []


async def test_l14_what_nothing_proves_cannot_crowd_out_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MOST_A_DAY", 8)
    for number in range(5):
        await world.arrives(mailed(gzip.compress(example(report_id=str(number)))))
    assert len((await world.shown())["received"]) == 2
    message = mailed(gzip.compress(example(report_id="proved")))
    await world.arrives(message, event=evaluated(queue_id=of(message)))
    assert len((await world.shown())["received"]) == 3


async def test_l14_what_is_broken_is_not_kept(world: World) -> None:
    for file in (b"", b"x", gzip.compress(b"<feedback/>"), gzip.compress(b"\0" * 20_000_000)):
        await world.arrives(mailed(file))
    await world.arrives(mailed(PACKED, kind="application/pdf"))
    assert (await world.shown())["received"] == []


async def test_the_records_that_bring_reports(tmp_path: Path) -> None:
    async with World(tmp_path, receive_at=["dmarc@example.test"]).running() as world:
        world.asks("mailto:dmarc@example.test", domain="example.test")
        world.dns.has("txt", "_dmarc.other.test", b"v=DMARC1; p=none")
        rows = {row["name"]: row for row in (await world.shown())["records"]}
        assert rows["_dmarc.example.test"]["asks"]
        assert not rows["_dmarc.other.test"]["asks"] and rows["_dmarc.other.test"]["published"] == ["v=DMARC1; p=none"]
        assert rows["_dmarc.other.test"]["text"] == "v=DMARC1; p=none; rua=mailto:dmarc@example.test"
        assert rows["other.test._report._dmarc.example.test"] == {
            "name": "other.test._report._dmarc.example.test", "text": "v=DMARC1", "asks": False, "published": [],
        }  # fmt: skip
        world.dns.fails("txt", "_dmarc.other.test")
        rows = {row["name"]: row for row in (await world.shown("other.test"))["records"]}
        assert rows["_dmarc.other.test"]["published"] is None and "_dmarc.example.test" not in rows
