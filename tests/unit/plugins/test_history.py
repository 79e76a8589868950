"""The history: what is remembered of a message, found again, and forgotten in time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mailserver.mime.message_ids import own_message_id
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.errors import InvalidInput, LimitReached
from mailserver.model.events import (
    Accepted,
    Attempted,
    Bounced,
    Delivered,
    Dropped,
    Event,
    Handled,
    Judged,
    Queued,
    Refused,
    Reported,
)
from mailserver.model.findings import NOTHING, AuthResult, Findings, Reason
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.plugins.history import database
from mailserver.plugins.history.recorder import Recorder, open_recorder
from mailserver.plugins.history.rows import Rows
from mailserver.plugins.history.searching import condition
from tests.helpers.clock import FakeClock
from tests.helpers.plugins import running

ONE, TWO = QueueId("0000000000000001"), QueueId("0000000000000002")
ANNA, BOB = "anna@example.test", "Bob@far.test"


def accepted(queue_id: QueueId = ONE, **fields: Any) -> Accepted:
    given: dict[str, Any] = {
        "session": SessionId("s"), "queue_id": queue_id, "service": "submission", "sender": ANNA,
        "recipients": (BOB,), "size": 1000, "peer": "192.0.2.1", "account": ANNA, "message_id": "m1@example.test",
    }  # fmt: skip
    return Accepted(**(given | fields))


def attempted(outcome: Outcome, queue_id: QueueId = ONE, at: float = 1_800_000_000.0, **fields: Any) -> Attempted:
    status = {Outcome.DELIVERED: "2.0.0", Outcome.DEFERRED: "4.4.1", Outcome.FAILED: "5.1.1"}[outcome]
    result = Result(
        outcome=outcome, status=status, reply="what it said", code=250, remote="mx.far.test", address="192.0.2.25",
        tls="TLSv1.3", policy="dane",
    )  # fmt: skip
    given: dict[str, Any] = {
        "queue_id": queue_id, "at": at, "arrived": 1_800_000_000.0, "sender": ANNA, "account": ANNA, "recipient": BOB,
        "attempt": 1, "size": 1000, "destination": "far.test", "result": result,
    }  # fmt: skip
    return Attempted(**(given | fields))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def recording(path: Path, clock: FakeClock, **settings: Any) -> AsyncIterator[Recorder]:
    given = {"keep": 14 * 86400.0, "max_size": 256 << 20} | settings
    async with open_recorder(path / "history.db", clock, **given) as recorder:
        yield recorder


async def found(recorder: Recorder, **wanted: Any) -> list[tuple[str, str, str]]:
    where, values = condition({name.rstrip("_"): value for name, value in wanted.items()})
    return [(row["queue_id"], row["status"], row["recipient"]) for row in await recorder.find(where, values, 100)]


async def test_what_happened_is_found_by_each_of_its_names(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(accepted())
        clock.advance(10)
        recorder.observe(attempted(Outcome.DEFERRED, at=clock.time()))
        clock.advance(10)
        recorder.observe(attempted(Outcome.DELIVERED, at=clock.time()))
        recorder.observe(accepted(TWO, sender="", recipients=("c@else.test",), message_id="", account=""))
        everything = await found(recorder)
        assert everything == [
            (TWO, "accepted", "c@else.test"), (ONE, "delivered", BOB), (ONE, "deferred", BOB), (ONE, "accepted", BOB),
        ]  # fmt: skip
        of_one, of_two = everything[1:], everything[:1]
        assert await found(recorder, from_="ANNA@example.test") == of_one
        assert await found(recorder, from_="example.test") == of_one
        assert await found(recorder, from_="<>") == of_two
        assert await found(recorder, to="bob@far.test") == of_one
        assert await found(recorder, to="*@far.*") == of_one
        assert await found(recorder, to="b_b@far.test") == []
        assert await found(recorder, to="b_b*") == []
        assert await found(recorder, to="else.test") == of_two
        assert await found(recorder, destination="FAR.test", status="delivered") == of_one[:1]
        assert await found(recorder, id=ONE) == of_one
        assert await found(recorder, id="<m1@example.test>") == of_one
        assert await found(recorder, since=clock.time()) == everything[:2]
        assert await found(recorder, until=clock.time() - 10) == of_one[2:]
        (row,) = await recorder.find(*condition({"status": "deferred"}), 1)
        assert {
            "sender": ANNA, "account": ANNA, "message_id": "m1@example.test", "tls": "TLSv1.3", "policy": "dane",
            "remote": "mx.far.test", "reply": "what it said",
        }.items() <= row.items()  # fmt: skip


async def test_the_story_of_a_message_has_what_was_made_of_it(tmp_path: Path, clock: FakeClock) -> None:
    report, copy = QueueId("0000000000000003"), QueueId("0000000000000004")
    async with recording(tmp_path, clock) as recorder:
        # An attempt may be over before it is told that the message was kept.
        recorder.observe(attempted(Outcome.FAILED))
        recorder.observe(Queued(queue_id=ONE, sender=ANNA, recipients=(BOB,), size=1000, origin=ONE, held_until=7.0))
        recorder.observe(accepted())
        recorder.observe(
            Queued(queue_id=copy, sender=ANNA, recipients=("x@y.test",), size=1000, origin=ONE, account=ANNA)
        )
        recorder.observe(Reported(queue_id=ONE, report_id=report, to=ANNA, action="failed", recipients=(BOB,)))
        recorder.observe(Delivered(queue_id=report, account=AccountId(ANNA), mailbox="INBOX", uid=1, size=3000))
        recorder.observe(Handled(queue_id=copy, action="held", recipients=("x@y.test",), until=9.0, by="carl"))
        recorder.observe(Dropped(queue_id=copy, recipients=("x@y.test",), by="carl"))
        recorder.observe(
            Bounced(
                queue_id=ONE, account=AccountId(ANNA), recipient=BOB, status="5.1.1", reply="no",
                reporter="mx.far.test", credible=False,
            )
        )  # fmt: skip
        for name in (ONE, report, copy, "m1@example.test"):
            story = await recorder.related(name)
            assert {row["queue_id"] for row in story} == {ONE, report, copy}
            events = {row["queue_id"]: [event["status"] for event in row["events"]] for row in story}
            assert events[ONE] == ["accepted", "failed", "reported", "bounced"]
            assert events[report] == ["delivered"]
            assert events[copy] == ["queued", "held", "dropped"]
            by_hand = [event for row in story for event in row["events"] if event["report"] == "carl"]
            assert [(event["status"], event["next_attempt"]) for event in by_hand] == [("held", 9.0), ("dropped", None)]
        (one,) = [row for row in story if row["queue_id"] == ONE]
        assert (one["service"], one["peer"], one["sender"], one["held_until"], one["size"]) == (
            "submission", "192.0.2.1", ANNA, 7.0, 1000,
        )  # fmt: skip
        assert await recorder.related("nobody@example.test") == []


async def test_mail_into_our_own_mailbox_is_told_once(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        result = Result(outcome=Outcome.DELIVERED, status="2.0.0", reply="Delivered", success=Success.DELIVERED)
        recorder.observe(Delivered(queue_id=ONE, account=AccountId(ANNA), mailbox="INBOX", uid=1, size=1))
        recorder.observe(attempted(Outcome.DELIVERED, destination="local", result=result))
        assert await found(recorder) == [(ONE, "delivered", ANNA)]


async def test_it_survives_a_restart_and_forgets_in_time(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(accepted())
    clock.advance(13 * 86400.0)
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(accepted(TWO))
        assert await found(recorder, status="accepted") == [(TWO, "accepted", BOB), (ONE, "accepted", BOB)]
        clock.advance(2 * 86400.0)
        recorder.observe(attempted(Outcome.DELIVERED, TWO, at=clock.time()))
        assert await found(recorder) == [(TWO, "delivered", BOB), (TWO, "accepted", BOB)]
    with sqlite3.connect(tmp_path / "history.db") as db:
        assert [row[0] for row in db.execute("SELECT queue_id FROM message")] == [TWO]
    db.close()


async def test_a_history_from_before_there_was_doubt_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(attempted(Outcome.DELIVERED))
    with sqlite3.connect(tmp_path / "history.db") as db:
        db.execute("ALTER TABLE event DROP COLUMN doubtful")
    db.close()
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(attempted(Outcome.DELIVERED, TWO, doubtful=True))
        rows = await recorder.find("", [], 10)
    assert {row["queue_id"]: row["doubtful"] for row in rows} == {ONE: 0, TWO: 1}


async def test_it_is_bounded_in_size(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock, max_size=1 << 20) as recorder:
        for turn in range(12):
            for number in range(500):
                queue_id = QueueId(f"{turn:08}{number:08}")
                recorder.observe(accepted(queue_id, recipients=tuple(f"{name}@{'x' * 60}.test" for name in "ab")))
            clock.advance(301)
            await recorder.flush()
        kept = {row[0] for row in await found(recorder)}
        where, values = condition({})
        rows = await recorder.find(where, values, 100_000)
        assert f"{11:08}{499:08}" in kept and 1000 < len(rows) < 12_000
        assert await found(recorder, id=f"{0:08}{0:08}") == []
    with sqlite3.connect(tmp_path / "history.db") as db:
        pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        assert pages * size < 1_600_000
        messages, events = (db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("message", "event"))
        assert messages == events / 2
    db.close()


async def test_what_is_too_much_is_left_out_and_counted(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailserver.plugins.history.recorder._MOST_WAITING", 3)
    async with recording(tmp_path, clock) as recorder:
        for _ in range(5):
            recorder.observe(accepted())
        assert len(await found(recorder)) == 3 and recorder.lost == 2


async def test_a_disk_that_refuses_costs_the_history_and_nothing_else(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(tmp_path, clock) as recorder:
        with monkeypatch.context() as patch:
            patch.setattr(database, "write", _refuse)
            recorder.observe(accepted())
            await recorder.flush()
        assert recorder.lost == 1
        recorder.observe(accepted(TWO))
        assert await found(recorder) == [(TWO, "accepted", BOB)]


async def test_a_search_does_not_wait_until_nothing_happens_any_more(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, write, written = asyncio.get_running_loop(), database.write, 0
    async with recording(tmp_path, clock) as recorder:

        def busy(db: sqlite3.Connection, rows: Rows) -> None:
            nonlocal written
            written += 1
            loop.call_soon_threadsafe(recorder.observe, accepted(TWO))
            write(db, rows)

        monkeypatch.setattr(database, "write", busy)
        recorder.observe(accepted())
        async with asyncio.timeout(60):
            assert (ONE, "accepted", BOB) in await found(recorder)
        assert written <= 2
        monkeypatch.undo()


def _refuse(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("content", [b"this is no database at all, not at all" * 100, b"SQLite format 3\0" * 500])
async def test_a_damaged_file_is_put_aside(tmp_path: Path, clock: FakeClock, content: bytes) -> None:
    (tmp_path / "history.db").write_bytes(content)
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(accepted())
        assert await found(recorder) == [(ONE, "accepted", BOB)]
    assert (tmp_path / "history.db.damaged").read_bytes() == content
    assert (tmp_path / "history.db").stat().st_mode & 0o077 == 0


async def test_a_search_that_takes_too_long_ends(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailserver.plugins.history.recorder._SEARCH_SECONDS", -1.0)
    monkeypatch.setattr(database, "_STEPS", 1)
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(accepted())
        with pytest.raises(LimitReached):
            await found(recorder, to="*x*")


@pytest.mark.parametrize(
    "arguments",
    [
        {"status": "gone"}, {"since": "yesterday"}, {"since": True}, {"from": 7}, {"to": "x" * 1001}, {"limit": 0},
        {"limit": "5"}, {"limit": 100_001},
    ],
)  # fmt: skip
async def test_a_question_that_makes_no_sense(tmp_path: Path, arguments: dict[str, Any]) -> None:
    async with running(tmp_path) as server:
        (find,) = [c.value for c in server.hooks.contributions("operation") if c.name == "history.find"]
        with pytest.raises(InvalidInput):
            await find(arguments)


async def test_as_a_plugin(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        operations = {c.name: c.value for c in server.hooks.contributions("operation")}
        told: list[Event] = [accepted(), Queued(queue_id=ONE, sender=ANNA, recipients=(BOB,), size=1, origin=ONE)]
        for event in told:
            server.hooks.emit(event)
        (row,) = await operations["history.find"]({"to": BOB, "limit": 5})
        assert row["queue_id"] == ONE
        assert [one["queue_id"] for one in await operations["history.story"]({"id": " <m1@example.test> "})] == [ONE]
        with pytest.raises(InvalidInput):
            await operations["history.story"]({"id": "<>"})


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"Message-ID: <a@b>\r\n\r\n", "a@b"), (b"Subject: x\nMESSAGE-ID :\n <a@b>\n\n", "a@b"),
        (b"Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", ""), (b"Message-ID: <a\x1b@b>\r\n\r\n", ""),
        (b"X-Message-ID: <a@b>\r\n\r\n", ""), (b"Message-ID: none\r\nMessage-ID: <a@b>\r\n\r\n", ""), (b"", ""),
        (b"Message-ID: <" + b"a" * 300 + b"@b>\r\n\r\n", ""),
    ],
)  # fmt: skip
def test_the_id_of_a_message(head: bytes, expected: str) -> None:
    assert own_message_id(head) == expected


FOUND = Findings(
    (AuthResult(method="spf", result="fail", reason="not listed", properties=(("smtp.mailfrom", "far.test"),)),),
    (Reason("bayes", 3.5, "It reads like junk", "Move it out of Junk"), Reason("spf", 1.25, "t" * 600)),
)


def judged(queue_id: QueueId = ONE, account: str = ANNA, **fields: Any) -> Judged:
    given: dict[str, Any] = {
        "queue_id": queue_id, "account": AccountId(account), "peer": "192.0.2.1", "sender": "bounce@far.test",
        "recipient": account, "message_id": "in@far.test", "mailbox": "Junk", "findings": FOUND,
        "reply": "250 2.0.0 Kept", "refused": False, "author": BOB.lower(),
    }  # fmt: skip
    return Judged(**(given | fields))


async def test_why_mail_went_where_it_went_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(judged())
        recorder.observe(judged(account="ben@example.test", mailbox="INBOX", findings=NOTHING))
        clock.advance(1)
        # Nobody took this one.
        recorder.observe(judged(TWO, message_id="", refused=True, mailbox="", reply="550 5.7.1 No", reason="junk"))
        (row,) = await recorder.related("in@far.test")
        assert (row["queue_id"], row["peer"], row["sender"], row["events"]) == (
            ONE, "192.0.2.1", "bounce@far.test", [],
        )  # fmt: skip
        anna, ben = row["judged"]
        assert (anna["account"], anna["mailbox"], anna["score"], anna["refused"]) == (ANNA, "Junk", 4.75, False)
        assert anna["results"] == [
            {"method": "spf", "result": "fail", "reason": "not listed", "properties": {"smtp.mailfrom": "far.test"}}
        ]
        assert anna["reasons"][0] == {
            "check": "bayes", "points": 3.5, "text": "It reads like junk", "advice": "Move it out of Junk",
        }  # fmt: skip
        assert len(anna["reasons"][1]["text"]) == 500
        assert (ben["account"], ben["mailbox"], ben["reasons"]) == ("ben@example.test", "INBOX", [])
        (row,) = await recorder.related(TWO)
        assert (row["judged"][0]["refused"], row["judged"][0]["reply"]) == (True, "550 5.7.1 No")
        # By who wrote it, and by who sent it, in any case.
        for name in ("BOB@far.test", "bounce@FAR.test"):
            assert [row["queue_id"] for row in await recorder.related(name)] == [ONE, TWO]
        assert await recorder.related("@") == []


async def test_a_reason_that_cannot_be_written_as_it_is_takes_nothing_else_along(
    tmp_path: Path, clock: FakeClock
) -> None:
    odd = Findings(
        (AuthResult(method="spf", result="fail", reason="\ud800", properties=(("smtp.mailfrom", "\ud800"),)),),
        (Reason("test", 1.0, "a \ud800", "b \ud800"),),
    )
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(judged())
        recorder.observe(judged(TWO, message_id="", findings=odd, reason="\ud800"))
        assert len((await recorder.related(ONE))[0]["judged"]) == 1
        ((row,),) = [one["judged"] for one in await recorder.related(TWO)]
        assert (row["reasons"][0]["text"], row["reason"]) == ("a ?", "?")


def refused(stage: str = "rcpt", **fields: Any) -> Refused:
    given: dict[str, Any] = {
        "session": SessionId("abcdef"), "service": "smtp", "stage": stage, "peer": "192.0.2.1", "sender": BOB,
        "recipient": ANNA if stage == "rcpt" else "", "code": 550, "reason": "5.7.1 No",
    }  # fmt: skip
    return Refused(**(given | fields))


async def test_what_was_refused_before_there_was_a_message(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        for event in (refused(), refused(recipient="nobody@example.test"), refused("connect"), refused("message")):
            recorder.observe(event)
        recorder.observe(refused("mail", sender="eve@far.test", code=451))
        (row,) = await recorder.related(BOB)
        assert (row["peer"], row["sender"], row["service"]) == ("192.0.2.1", BOB, "smtp")
        assert [(event["status"], event["recipient"], event["code"]) for event in row["events"]] == [
            ("refused", ANNA, 550), ("refused", "nobody@example.test", 550),
        ]  # fmt: skip
        assert len(await found(recorder, status="refused", to=ANNA)) == 1
        (row,) = await recorder.related("eve@far.test")
        assert row["events"][0]["reply"] == "5.7.1 No" and row["queue_id"].startswith("abcdef-")
        # The same name of a session, days later, is another one.
        clock.advance(86400)
        recorder.observe(refused())
        assert len(await recorder.related(BOB)) == 2


async def test_who_knocks_all_day_drives_nothing_out(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        for number in range(100):
            recorder.observe(refused(recipient=f"{number}@example.test"))
        assert len(await found(recorder, status="refused")) == 20
        for number in range(1000):
            recorder.observe(refused(peer=f"192.0.{number // 250}.{number % 250}"))
        where, values = condition({"status": "refused"})
        assert len(await recorder.find(where, values, 5000)) == 500
        clock.advance(7200)
        recorder.observe(refused())
        assert len(await recorder.find(where, values, 5000)) == 501


async def test_of_a_sender_the_newest_messages_are_told(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        for number in range(30):
            clock.advance(1)
            recorder.observe(judged(QueueId(f"{number:016}"), message_id=""))
        rows = await recorder.related("bob@far.test")
        assert [row["queue_id"] for row in rows] == [f"{number:016}" for number in range(20, 30)]


async def test_judgements_are_forgotten_in_time_and_in_size(tmp_path: Path, clock: FakeClock) -> None:
    many = Findings((), FOUND.reasons * 100)
    async with recording(tmp_path, clock, max_size=1 << 20) as recorder:
        recorder.observe(judged())
        await recorder.flush()
        for number in range(400):
            recorder.observe(judged(QueueId(f"{number:016}"), message_id="", findings=many))
        clock.advance(301)
        await recorder.flush()
        recorder.observe(judged(TWO))
        clock.advance(301)
        await recorder.flush()
        assert await recorder.related(ONE) == []
        (row,) = await recorder.related(TWO)
        assert len(row["judged"]) == 1
        (row,) = await recorder.related(f"{399:016}")
        assert len(row["judged"][0]["reasons"]) == 50
        clock.advance(15 * 86400)
        recorder.observe(accepted(QueueId("9")))
        await recorder.flush()
        assert await recorder.related(TWO) == []


async def test_a_history_from_before_judgements_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(accepted())
    with sqlite3.connect(tmp_path / "history.db") as db:
        db.execute("DROP TABLE judged")
    db.close()
    async with recording(tmp_path, clock) as recorder:
        recorder.observe(judged())
        (row,) = await recorder.related(ONE)
        assert len(row["judged"]) == len(row["events"]) == 1


@pytest.mark.parametrize("odd", [accepted(TWO, sender="\udc80@x"), accepted(TWO, size=1 << 70)])
async def test_what_cannot_be_written_takes_nothing_with_it(tmp_path: Path, clock: FakeClock, odd: Event) -> None:
    async with recording(tmp_path, clock) as recorder:
        for event in (accepted(ONE), odd, attempted(Outcome.DELIVERED)):
            recorder.observe(event)
        assert {row[:2] for row in await found(recorder)} == {(ONE, "accepted"), (ONE, "delivered")}
        assert recorder.lost == 1
