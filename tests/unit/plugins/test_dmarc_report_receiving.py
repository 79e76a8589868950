"""Reports of others about us: what is kept of them, the records that bring them; and that none leads to another."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.api import QueueId
from mailserver.plugins.aggregate_reports.dmarc_report import DmarcReports, recognising
from tests.helpers.dmarc_reporting import World, evaluated
from tests.helpers.dmarc_reports import EXAMPLE, example, mailed, zipped

PACKED = gzip.compress(EXAMPLE)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


def of(message: bytes) -> QueueId:
    return QueueId(f"{len(message):016}")


async def test_a_report_of_others_is_kept(world: World) -> None:
    message = mailed(PACKED)
    await world.arrives(message, event=evaluated(queue_id=of(message)))
    told = await world.shown("example.test", sources=True)
    (row,) = told["received"]
    assert (row["organisation"], row["messages"], row["failed"], row["proved"]) == ("Far Mail", 130, 7, True)
    assert [one["source"] for one in row["rows"]] == ["192.0.2.123", "2001:db8::66"]
    assert [(one["source"], one["messages"], one["failed"]) for one in told["sources"]] == [
        ("2001:db8::66", 7, 7), ("192.0.2.123", 123, 0),
    ]  # fmt: skip


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


async def test_what_is_known_of_reports_has_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognising, "_MOST_KNOWN", 3)
    for number in range(9):
        await world.arrives(mailed(PACKED) + b"x" * number, accepted=False)
    receiver = world.registry.hooks["on_message"][0].__self__  # type: ignore[attr-defined]
    assert len(receiver._kind._recognised._known) == 3


async def test_l14_what_nothing_proves_cannot_crowd_out_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DmarcReports, "limits", replace(DmarcReports.limits, day=8))
    for number in range(5):
        await world.arrives(mailed(gzip.compress(example(report_id=str(number)))))
    assert len((await world.shown())["received"]) == 2
    message = mailed(gzip.compress(example(report_id="proved")))
    await world.arrives(message, event=evaluated(queue_id=of(message)))
    assert len((await world.shown())["received"]) == 3


async def test_another_domain_must_agree_that_reports_come_there(tmp_path: Path) -> None:
    async with World(tmp_path, receive_at=["dmarc@example.test"]).running() as world:
        world.dns.has("txt", "_dmarc.other.test", b"v=DMARC1; p=none")
        asked, agreed = (await world.shown("other.test"))["records"]
        assert not asked["asks"] and asked["published"] == ["v=DMARC1; p=none"]
        assert asked["text"] == "v=DMARC1; p=none; rua=mailto:dmarc@example.test"
        assert agreed == {
            "name": "other.test._report._dmarc.example.test", "text": "v=DMARC1", "asks": False, "published": [],
        }  # fmt: skip
        world.agrees("example.test", domain="other.test")
        assert (await world.shown("other.test"))["records"][1]["asks"]
        assert len((await world.shown("example.test"))["records"]) == 1
