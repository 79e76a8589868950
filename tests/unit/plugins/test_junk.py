"""The decision: points, what an account says of senders, honeypots, and copies of refused mail."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailserver.mime.view import MessageView
from mailserver.model.errors import InvalidInput, LimitReached, NotFound, NotPermitted, StorageFailure
from mailserver.model.events import Judged
from mailserver.model.findings import NOTHING, Findings
from mailserver.model.ids import AccountId, QueueId
from mailserver.model.verdict import Defer, Reject, Verdict
from mailserver.plugins.junk import database
from mailserver.plugins.junk.decision import Decision
from mailserver.plugins.junk.ledger import Ledger, open_ledger
from mailserver.plugins.junk.refused import digest
from mailserver.plugins.junk.rejects import Cleaning
from mailserver.plugins.junk.settings import JunkSettings
from mailserver.plugins.junk.wishes import Thresholds
from mailserver.ports.store import Target
from mailserver.storage.memory import MemoryStore
from tests.helpers.content import BytesContent
from tests.helpers.judging import (
    ANNA,
    BEN,
    arriving,
    delivering,
    dkim,
    dmarc,
    naming,
    points,
    proofs,
    spf,
    text,
)
from tests.helpers.plugins import Server, alone, running

DAY = 86_400.0


@asynccontextmanager
async def junk(tmp_path: Path, **settings: Any) -> AsyncIterator[Server]:
    async with running(tmp_path, sections=alone("accounts", junk=settings), order=("accounts", "junk")) as server:
        for account in (ANNA, BEN):
            if server.directory.account(account) is None:
                await server.add(account)
        yield server


async def ask(server: Server, operation: str, **arguments: Any) -> Any:
    (found,) = [c.value for c in server.hooks.contributions("operation") if c.name == operation]
    return await found(arguments)


def kind(verdict: Verdict) -> str:
    return type(verdict).__name__.lower()


def words(verdict: Verdict) -> str:
    return " ".join(f"{reason.text} {reason.advice}" for reason in verdict.findings.reasons)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(-3.0, "accept"), (4.9, "accept"), (5.0, "quarantine"), (11.9, "quarantine"), (12.0, "reject"), (90.0, "reject")],
)
async def test_points_decide(tmp_path: Path, score: float, expected: str) -> None:
    async with junk(tmp_path) as server:
        verdict = await server.hooks.delivery(delivering(findings=points(score)))
        assert kind(verdict) == expected
        # It explains itself, and adds no points of its own.
        assert verdict.findings.score == 0.0
        assert (f"{score:.1f} points" in words(verdict)) is (expected != "accept")


@pytest.mark.parametrize(
    "session",
    [{"trusted": True}, {"account": BEN}, {"service": "submission"}, {"service": "sendmail"}],
)
async def test_whose_mail_is_not_judged(tmp_path: Path, session: dict[str, Any]) -> None:
    async with junk(tmp_path, honeypots=["trap@example.test"]) as server:
        await ask(server, "sender.block", account=ANNA, sender="far.test")
        assert kind(await server.hooks.delivery(delivering(findings=points(99), **session))) == "accept"
        await server.hooks.rcpt(naming("trap@example.test", **session))
        verdict = await server.hooks.message(arriving(to="trap@example.test", **session))
        assert verdict.findings == NOTHING


async def test_what_a_check_keeps_out_stays_out(tmp_path: Path) -> None:
    async with junk(tmp_path) as server:
        verdict = await server.hooks.delivery(delivering(quarantined=True))
        assert kind(verdict) == "quarantine" and "One of the checks wants it to go to Junk" in words(verdict)
        await ask(server, "sender.allow", account=ANNA, sender="far.test")
        verdict = await server.hooks.delivery(delivering(findings=proofs(dmarc("far.test")), quarantined=True))
        assert kind(verdict) == "quarantine" and "a check keeps it out of the inbox all the same" in words(verdict)


async def test_an_account_has_numbers_of_its_own(tmp_path: Path) -> None:
    async with junk(tmp_path) as server:
        row = await ask(server, "junk.set", account="Anna@example.test", junk=8, reject=0)
        assert row == {"account": ANNA, "junk": 8.0, "reject": 0.0, "own": True}
        assert kind(await server.hooks.delivery(delivering(findings=points(7)))) == "accept"
        assert kind(await server.hooks.delivery(delivering(findings=points(99)))) == "quarantine"
        assert kind(await server.hooks.delivery(delivering(findings=points(7), to=BEN))) == "quarantine"
        # One number alone: the other stays.
        await ask(server, "junk.set", account=ANNA, junk=0)
        assert kind(await server.hooks.delivery(delivering(findings=points(99)))) == "accept"
        for wrong in ({"junk": -1}, {"junk": 1001}, {"reject": True}, {"junk": "5"}, {"junk": 20.0, "reject": 12}):
            with pytest.raises(InvalidInput):
                await ask(server, "junk.set", account=ANNA, **wrong)
        with pytest.raises(NotFound):
            await ask(server, "junk.set", account="nobody@example.test", junk=1)
    # Over a restart.
    async with junk(tmp_path) as server:
        rows = await ask(server, "junk.list")
        assert [(row["account"], row["junk"], row["reject"], row["own"]) for row in rows] == [
            (ANNA, 0.0, 0.0, True), (BEN, 5.0, 12.0, False),
        ]  # fmt: skip
        await ask(server, "junk.set", account=ANNA, default=True)
        assert [row["own"] for row in await ask(server, "junk.list", account=ANNA)] == [False]
        assert kind(await server.hooks.delivery(delivering(findings=points(99)))) == "reject"


@pytest.mark.parametrize(
    ("pattern", "author", "results", "expected"),
    [
        ("bob@far.test", "bob@far.test", (dmarc("far.test"),), "accept"),
        ("BOB@FAR.test", "Bob <Bob@far.test>", (dkim("far.test"),), "accept"),
        ("far.test", "eve@far.test", (spf("far.test"),), "accept"),
        ("@far.test", "eve@mail.far.test", (dkim("far.test"),), "accept"),
        # What anybody can write is no proof.
        ("bob@far.test", "bob@far.test", (), "reject"),
        ("bob@far.test", "bob@far.test", (dmarc("far.test", "fail"), dkim("far.test", "fail")), "reject"),
        ("bob@far.test", "bob@far.test", (dmarc("evil.test"), dkim("evil.test"), spf("evil.test")), "reject"),
        # A stranger below a domain does not speak for it.
        ("far.test", "bob@far.test", (dkim("evil.far.test"), spf("x@evil.far.test")), "reject"),
        ("far.test", "bob@far.test", (dkim("test"),), "reject"),
        ("bob@far.test", "eve@far.test", (dmarc("far.test"),), "reject"),
        ("bob@far.test", "bob@far.test, eve@evil.test", (dmarc("far.test"),), "reject"),
        # Two programs could read this in two ways.
        ("bob@far.test", "=?utf-8?q?bob?=@far.test", (dmarc("far.test"),), "reject"),
        ("bob@far.test", "bob@far.test\r\nFrom: eve@evil.test", (dmarc("far.test"),), "reject"),
        ("far.test", "bob@notfar.test", (dmarc("notfar.test"),), "reject"),
    ],
)
async def test_who_is_allowed(tmp_path: Path, pattern: str, author: str, results: Any, expected: str) -> None:
    async with junk(tmp_path) as server:
        await ask(server, "sender.allow", account=ANNA, sender=pattern)
        verdict = await server.hooks.delivery(delivering(text(author), proofs(*results) + points(50)))
        assert kind(verdict) == expected
        if expected == "accept":
            assert "You allow mail from" in words(verdict)
        assert kind(await server.hooks.delivery(delivering(text(author), points(50), to=BEN))) == "reject"


async def test_an_allowance_without_proof_says_so(tmp_path: Path) -> None:
    async with junk(tmp_path) as server:
        await ask(server, "sender.allow", account=ANNA, sender="bob@far.test")
        verdict = await server.hooks.delivery(delivering())
        assert kind(verdict) == "accept"
        assert words(verdict) == "You allow mail from bob@far.test, but nothing proves that it is from there "


async def test_who_is_blocked(tmp_path: Path) -> None:
    async with junk(tmp_path) as server:
        await ask(server, "sender.block", account=ANNA, sender="far.test")
        for message, sender in (
            (text(), ""), (text("x@sub.far.test"), ""), (text("x@else.test"), "bounces@far.test"),
            (text("a@else.test, b@far.test"), ""),
        ):  # fmt: skip
            verdict = await server.hooks.delivery(delivering(message, sender=sender))
            assert isinstance(verdict, Reject) and not verdict.keep and verdict.reply.code == 550, message
            assert "You block mail from far.test" in words(verdict)
            assert "mailserver sender remove anna@example.test far.test" in words(verdict)
        assert kind(await server.hooks.delivery(delivering(text("x@nofar.test"), sender="x@test"))) == "accept"
        assert kind(await server.hooks.delivery(delivering(to=BEN))) == "accept"
        # One person of a blocked domain.
        await ask(server, "sender.allow", account=ANNA, sender="bob@far.test")
        assert kind(await server.hooks.delivery(delivering(findings=proofs(dmarc("far.test"))))) == "accept"
        await ask(server, "sender.remove", account=ANNA, sender="@far.test")
        assert kind(await server.hooks.delivery(delivering(text("eve@far.test")))) == "accept"


async def test_the_list_of_an_account(tmp_path: Path) -> None:
    async with junk(tmp_path, most_senders=2) as server:
        await ask(server, "sender.allow", account=ANNA, sender="bob@far.test")
        await ask(server, "sender.block", account=ANNA, sender="Bücher.test")
        await ask(server, "sender.allow", account=BEN, sender="x@y.test")
        # The same one again is no further one.
        await ask(server, "sender.block", account=ANNA, sender="bob@far.test")
        with pytest.raises(LimitReached):
            await ask(server, "sender.block", account=ANNA, sender="third.test")
        for wrong in ("", "@", "test", "a b@x.test", "bob@", "[192.0.2.1]", "*@x.test x"):
            with pytest.raises(InvalidInput):
                await ask(server, "sender.block", account=ANNA, sender=wrong)
        with pytest.raises(NotFound):
            await ask(server, "sender.remove", account=ANNA, sender="nobody@else.test")
        with pytest.raises(NotFound):
            await ask(server, "sender.list", account="nobody@example.test")
    async with junk(tmp_path) as server:
        rows = await ask(server, "sender.list", account=ANNA)
        assert [(row["sender"], row["action"]) for row in rows] == [
            ("xn--bcher-kva.test", "block"), ("bob@far.test", "block"),
        ]  # fmt: skip
        assert len(await ask(server, "sender.list")) == 3


async def test_wishes_are_not_inherited(tmp_path: Path) -> None:
    async with junk(tmp_path) as server:
        await ask(server, "sender.block", account=ANNA, sender="far.test")
        await ask(server, "junk.set", account=ANNA, junk=1)
        await server.directory.remove_account(ANNA)
        await server.add(ANNA)
        assert kind(await server.hooks.delivery(delivering(findings=points(2)))) == "accept"
        assert await ask(server, "sender.list", account=ANNA) == []
        assert not (await ask(server, "junk.list", account=ANNA))[0]["own"]
        await ask(server, "sender.block", account=ANNA, sender="else.test")
        assert len(await ask(server, "sender.list", account=ANNA)) == 1


@pytest.mark.parametrize(("how", "code"), [("reject", 550), ("defer", 451)])
async def test_refused_mail_is_kept_once(tmp_path: Path, how: str, code: int) -> None:
    async with junk(tmp_path, refuse_with=how, keep="2d") as server:
        bad = delivering(findings=points(20))
        kept = []
        other, to_ben = delivering(text(body="other"), points(20)), delivering(findings=points(20), to=BEN)
        for again in (bad, bad, other, to_ben):
            verdict = await server.hooks.delivery(again)
            assert isinstance(verdict, Reject | Defer) and verdict.reply.code == code
            kept.append(verdict.keep)
        # The same by another way, with other trace fields.
        relayed = b"Received: from x by y\r\n" + text()
        verdict = await server.hooks.delivery(delivering(relayed, points(20)))
        assert isinstance(verdict, Reject | Defer)
        assert [*kept, verdict.keep] == [True, False, True, True, False]
        server.clock.advance(3 * DAY)
        verdict = await server.hooks.delivery(bad)
        assert isinstance(verdict, Reject | Defer) and verdict.keep


async def test_no_copies(tmp_path: Path) -> None:
    async with junk(tmp_path, most_kept=0) as server:
        verdict = await server.hooks.delivery(delivering(findings=points(20)))
        assert isinstance(verdict, Reject) and not verdict.keep


def test_a_message_is_known_again() -> None:
    def told(octets: bytes, head: int = 1 << 20) -> bytes:
        return digest(MessageView(BytesContent(octets, head)), len(octets))

    one = told(text())
    assert told(b"Received: x\r\n" + text()) == one
    others = (text(body="b"), text(Subject="Other"), text("eve@far.test"), text(Message_ID="<2@x>"), text() + b"more")
    assert len({one, *(told(other) for other in others)}) == 6
    # Beyond what is looked at, the size tells.
    long = text(body="x" * 5000)
    assert told(long, 1000) != told(long + b"y", 1000)


# honeypots


async def test_who_writes_to_a_honeypot_has_a_bad_name(tmp_path: Path) -> None:
    async with junk(tmp_path, honeypots=["Trap@Example.test"], remember="7d") as server:
        assert (await server.hooks.message(arriving())).findings == NOTHING
        await server.hooks.rcpt(naming("trap@example.test"))
        (reason,) = (await server.hooks.message(arriving())).findings.reasons
        assert reason.points == 1.5 and "192.0.2.7" in reason.text
        assert (await server.hooks.message(arriving(peer="192.0.2.8"))).findings == NOTHING
        for _ in range(4):
            await server.hooks.rcpt(naming("trap@example.test", proofs(spf("spam.test"))))
        found = (await server.hooks.message(arriving(findings=proofs(spf("spam.test"))))).findings
        assert found.score == 4.5 < JunkSettings().junk
        # The domain is known at other addresses too, if it is proved to be that domain.
        other = "2001:db8::1"
        for result, score in ((dkim("spam.test"), 1.5), (spf("spam.test", "fail"), 0.0)):
            assert (await server.hooks.message(arriving(findings=proofs(result), peer=other))).findings.score == score
        server.clock.advance(8 * DAY)
        assert (await server.hooks.message(arriving(findings=proofs(spf("spam.test"))))).findings == NOTHING


async def test_a_message_to_a_honeypot_marks_its_signers(tmp_path: Path) -> None:
    async with junk(tmp_path, honeypots=["trap@example.test"]) as server:
        await server.hooks.rcpt(naming("trap@example.test"))
        found = await server.hooks.message(arriving(to="trap@example.test", findings=proofs(dkim("spam.test"))))
        # The server was counted at RCPT, and is not once more.
        assert found.findings.score == 2.5
        found = await server.hooks.message(arriving(findings=proofs(dkim("spam.test")), peer="::1"))
        assert found.findings.score == 1.0


async def test_honeypots_survive_a_restart_and_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_MOST_MARKS", 20)
    monkeypatch.setattr("mailserver.plugins.junk.ledger._MOST_MARKS", 30)
    async with junk(tmp_path, honeypots=["trap@example.test"]) as server:
        for number in range(60):
            server.clock.advance(1)
            await server.hooks.rcpt(naming("trap@example.test", peer=f"192.0.2.{number}"))
    with sqlite3.connect(tmp_path / ".server" / "junk.db") as db:
        assert db.execute("SELECT count(*) FROM mark").fetchone() == (20,)
    db.close()
    async with junk(tmp_path, honeypots=["trap@example.test"]) as server:
        assert (await server.hooks.message(arriving(peer="192.0.2.59"))).findings.score == 1.5
        assert (await server.hooks.message(arriving(peer="192.0.2.1"))).findings == NOTHING


async def test_honeypots_by_command_and_whom_they_know(tmp_path: Path) -> None:
    async with junk(tmp_path, honeypots=["old@example.test"], remember="7d") as server:
        await ask(server, "honeypot.add", address="Trap@example.test")
        rows = await ask(server, "honeypot.list")
        assert [(row["address"], row["from_config"]) for row in rows] == [
            ("old@example.test", True), ("trap@example.test", False),
        ]  # fmt: skip
        now = server.clock.time()
        await server.hooks.rcpt(naming("trap@example.test", proofs(spf("spam.test"))))
        server.clock.advance(60)
        await server.hooks.rcpt(naming("old@example.test", peer="2001:db8::7"))
        rows = await ask(server, "honeypot.marks")
        assert [(row["who"], row["kind"], row["hits"], row["honeypot"]) for row in rows] == [
            ("2001:db8::/64", "server", 1, "old@example.test"), ("192.0.2.7", "server", 1, "trap@example.test"),
            ("spam.test", "domain", 1, "trap@example.test"),
        ]  # fmt: skip
        assert (rows[1]["at"], rows[1]["until"], rows[1]["sender"]) == (now, now + 7 * DAY, "bob@far.test")
        (lifted,) = await ask(server, "honeypot.lift", who="192.0.2.7")
        assert lifted["who"] == "192.0.2.7"
        assert (await server.hooks.message(arriving())).findings == NOTHING
        with pytest.raises(NotFound):
            await ask(server, "honeypot.lift", who="192.0.2.7")
        await ask(server, "honeypot.lift", who="2001:db8::99")
        await ask(server, "honeypot.lift", who="Spam.test")
        assert await ask(server, "honeypot.marks") == []
        await ask(server, "honeypot.remove", address="trap@example.test")
        await server.hooks.rcpt(naming("trap@example.test"))
        assert await ask(server, "honeypot.marks") == []
        for name, address in (("add", ANNA), ("add", "x@far.test"), ("add", "abuse@example.test"),
                              ("remove", "old@example.test")):  # fmt: skip
            with pytest.raises(NotPermitted):
                await ask(server, f"honeypot.{name}", address=address)
        with pytest.raises(NotFound):
            await ask(server, "honeypot.remove", address="trap@example.test")


async def test_marks_of_the_version_before_stay(tmp_path: Path) -> None:
    async with junk(tmp_path, honeypots=["trap@example.test"]) as server:
        await server.hooks.rcpt(naming("trap@example.test"))
    with sqlite3.connect(tmp_path / ".server" / "junk.db") as db:
        for statement in ("DROP TABLE honeypot", "ALTER TABLE mark DROP COLUMN trap",
                          "ALTER TABLE mark DROP COLUMN sender", "PRAGMA user_version=1"):  # fmt: skip
            db.execute(statement)
    db.close()
    async with junk(tmp_path, honeypots=["trap@example.test"]) as server:
        assert [row["who"] for row in await ask(server, "honeypot.marks")] == ["192.0.2.7"]


# Rejects


@asynccontextmanager
async def cleaning(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Cleaning, Ledger, MemoryStore, Server]]:
    async with running(tmp_path, order=("accounts",)) as server:
        for account in (ANNA, BEN):
            await server.add(account)
        store = MemoryStore(server.clock)
        host = replace(server.host, store=store)
        async with open_ledger(tmp_path / ".server" / "junk.db", server.directory) as ledger:
            yield Cleaning(host, JunkSettings(**settings), ledger), ledger, store, server


async def put(store: MemoryStore, account: AccountId, mailbox: str = "Rejects", date: int | None = None) -> None:
    async with store.begin() as content:
        await content.write(text())
        await store.commit(content, [Target(account=account, mailbox=mailbox, create=True, date=date)])


async def count(store: MemoryStore, account: AccountId, mailbox: str = "Rejects") -> int:
    return (await (await store.open_account(account)).status(mailbox)).messages


def judged(account: AccountId, mailbox: str) -> Judged:
    return Judged(
        queue_id=QueueId("q"), account=account, peer="", sender="", recipient=account, message_id="", mailbox=mailbox,
        findings=Findings(), reply="550 No", refused=True,
    )  # fmt: skip


async def test_rejects_is_cleaned(tmp_path: Path) -> None:
    async with cleaning(tmp_path, keep=14 * DAY) as (cleaner, ledger, store, server):
        # When a message was written does not matter: when it came here does.
        await put(store, ANNA, date=1)
        await put(store, ANNA, "INBOX")
        await cleaner.judged(judged(ANNA, "Rejects"))
        await cleaner.judged(judged(BEN, "Junk"))
        assert ledger.rejecting() == [ANNA]
        # Mail programs show it; who does not want that is not asked again.
        mailboxes = await store.open_account(ANNA)
        assert "Rejects" in await mailboxes.subscriptions()
        await mailboxes.subscribe("Rejects", False)
        await cleaner.judged(judged(ANNA, "Rejects"))
        assert "Rejects" not in await mailboxes.subscriptions()
        server.clock.advance(10 * DAY)
        await put(store, ANNA)
        await cleaner.clean()
        assert await count(store, ANNA) == 2
        server.clock.advance(5 * DAY)
        await cleaner.clean()
        assert (await count(store, ANNA), await count(store, ANNA, "INBOX")) == (1, 1)
        assert ledger.rejecting() == [ANNA]
        server.clock.advance(15 * DAY)
        await cleaner.clean()
        # Nothing is left to look after.
        assert await count(store, ANNA) == 0 and ledger.rejecting() == []
        # The mailbox may be gone, or the whole account.
        await cleaner.judged(judged(ANNA, "Rejects"))
        await (await store.open_account(ANNA)).delete("Rejects")
        await cleaner.judged(judged(BEN, "Rejects"))
        await cleaner.clean()
        assert ledger.rejecting() == []


async def test_rejects_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.plugins.junk.rejects._AT_ONCE", 2)
    async with cleaning(tmp_path, most_kept=3) as (cleaner, _, store, server):
        for _ in range(10):
            server.clock.advance(1)
            await put(store, ANNA)
        await cleaner.judged(judged(ANNA, "Rejects"))
        await cleaner.clean()
        async with (await store.open_account(ANNA)).open("Rejects") as mailbox:
            assert list(mailbox.table.uids) == [8, 9, 10]


async def test_rejects_takes_only_so_much_of_the_quota(tmp_path: Path) -> None:
    async with cleaning(tmp_path, max_size=1 << 20) as (cleaner, _, store, server):
        settings = cleaner._settings
        for _ in range(4):
            server.clock.advance(1)
            await put(store, ANNA)
        await cleaner.judged(judged(ANNA, "Rejects"))
        async with (await store.open_account(ANNA)).open("Rejects") as mailbox:
            size = mailbox.table.sizes[0]
        cleaner._settings = settings.model_copy(update={"max_size": 2 * size})
        await cleaner.clean()
        async with (await store.open_account(ANNA)).open("Rejects") as mailbox:
            assert list(mailbox.table.uids) == [3, 4]


async def test_a_large_message_that_is_refused_leaves_no_copy(tmp_path: Path) -> None:
    async with junk(tmp_path, max_size=1 << 20) as server:
        for body, keep in (("x" * 1000, True), ("x" * (110 << 10), False)):
            verdict = await server.hooks.delivery(delivering(text(body=body), points(20.0)))
            assert isinstance(verdict, Reject) and verdict.keep is keep


async def test_what_goes_wrong_with_one_account_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cleaning(tmp_path, most_kept=0) as (cleaner, ledger, store, _):
        existing = store.existing_account

        async def failing(account: AccountId) -> Any:
            if account == ANNA:
                raise StorageFailure("The disk failed")
            return await existing(account)

        monkeypatch.setattr(store, "existing_account", failing)
        for account in (ANNA, BEN):
            await put(store, account)
            await cleaner.judged(judged(account, "Rejects"))
        await cleaner.clean()
        assert ledger.rejecting() == [ANNA] and await count(store, BEN) == 0


async def test_what_is_known_of_accounts_that_are_gone_goes(tmp_path: Path) -> None:
    async with cleaning(tmp_path) as (cleaner, ledger, _, server):
        await ledger.set_thresholds(ANNA, server.clock.time(), Thresholds(1.0, None))
        await ledger.first_time(ANNA, b"1", server.clock.time(), 0.0)
        await server.directory.remove_account(ANNA)
        await cleaner.clean()
        assert ledger.accounts() == []
        assert await ledger.first_time(ANNA, b"1", server.clock.time(), 0.0)


async def test_refused_messages_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_MOST_REFUSED", 3)
    async with cleaning(tmp_path, keep=DAY) as (cleaner, ledger, _, server):
        now = server.clock.time()
        for number in range(5):
            assert await ledger.first_time(ANNA, bytes([number]), now, now - DAY)
        assert await ledger.first_time(ANNA, bytes([0]), now, now - DAY)
        assert not await ledger.first_time(ANNA, bytes([4]), now, now - DAY)
        server.clock.advance(2 * DAY)
        await cleaner.clean()
        assert await ledger.first_time(ANNA, bytes([4]), now, now - DAY)


async def test_a_disk_that_fails_costs_a_second_copy_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cleaning(tmp_path) as (_, ledger, _, server):
        decision = Decision(server.host, JunkSettings(), ledger)

        def refuse(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(database, "first_time", refuse)
        for _ in range(2):
            verdict = await decision.delivery(delivering(findings=points(20)))
            assert isinstance(verdict, Reject) and verdict.keep
        monkeypatch.setattr(database, "set_thresholds", refuse)
        with pytest.raises(StorageFailure):
            await ledger.set_thresholds(ANNA, 0.0, None)


async def test_two_ledgers_during_a_reload(tmp_path: Path) -> None:
    path = tmp_path / ".server" / "junk.db"
    async with cleaning(tmp_path) as (_, old, _, server), open_ledger(path, server.directory) as new:
        await old.set_thresholds(ANNA, server.clock.time(), Thresholds(2.0, None))
        assert new.thresholds(ANNA) is None
        await new.refresh()
        assert new.thresholds(ANNA) == Thresholds(2.0, None)


@pytest.mark.parametrize(
    "fields", [{"junk": 5.0, "reject": 4.0}, {"junk": -1.0}, {"honeypots": ["nothing"]}, {"keep": "1s"}]
)
def test_settings_that_make_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JunkSettings(**fields)


def test_settings_that_make_sense() -> None:
    assert JunkSettings(junk=0.0, reject=4.0).reject == JunkSettings(junk=4.0, reject=0.0).junk == 4.0
