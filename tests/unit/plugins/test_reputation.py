"""Reputation: what an account's own history says of a sender, and how it comes to be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailserver.mime.trace import received
from mailserver.mime.view import MessageView
from mailserver.model.events import Accepted, Delivered, FlagsChanged, Moved
from mailserver.model.findings import AuthResult, Findings
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.mailbox import SpecialUse
from mailserver.model.numset import NumSet
from mailserver.plugins.reputation import database
from mailserver.plugins.reputation.database import Filing, Seen
from mailserver.plugins.reputation.identities import Identities, stored_key
from mailserver.plugins.reputation.judging import History, Known, judge
from mailserver.plugins.reputation.ledger import Ledger, open_ledger
from mailserver.plugins.reputation.settings import ReputationSettings
from mailserver.ports.store import Target
from tests.helpers.clock import FakeClock
from tests.helpers.judging import ANNA, BEN, delivering, dkim, dmarc, proofs, spf, text
from tests.helpers.plugins import Server, alone, running

DAY = 86_400.0
NOW = 1_800_000_000.0
BOB = "bob@far.test"


# What is known becomes words.


def who(author: str = BOB, proof: str = "dmarc", signers: tuple[str, ...] = (), network: str = "c0/26") -> Identities:
    return Identities(author=author, domain=author.rpartition("@")[2], proof=proof, signers=signers, network=network)


def known(good: float = 0.0, bad: float = 0.0, seen: int = 1, days: float = 1.0) -> Known:
    return Known(first=NOW - days * DAY, last=NOW - DAY, seen=seen, good=good, bad=bad)


WROTE = {("to", BOB): known(), ("to-domain", "far.test"): known()}
GOOD, BAD, VERY_BAD = known(good=1.0), known(bad=1.0), known(bad=3.0, seen=3)


@pytest.mark.parametrize(
    ("sender", "history", "anybody", "points", "words"),
    [
        # The address decides.
        (who(), WROTE, True, -4.0, "You have written to bob@far.test"),
        (who(), WROTE | {("address", BOB): GOOD}, True, -4.0, "You have written to"),
        (who(), WROTE | {("address", BOB): BAD}, True, 1.0, "You put mail from bob@far.test into Junk"),
        (who(), {("address", BOB): BAD, ("domain", "far.test"): GOOD}, True, 3.0, "into Junk"),
        (who(), {("address", BOB): VERY_BAD}, True, 5.0, "into Junk"),
        (who(), {("address", BOB): known(good=1.0, bad=1.0), ("domain", "far.test"): known()}, True, None, ""),
        (who(), {("address", BOB): GOOD, ("domain", "far.test"): VERY_BAD}, True, -3.0, "You wanted mail from bob@"),
        (who(), {("address", BOB): known(seen=3, days=8)}, True, -1.0, "has come to you since 2027-01-07"),
        (who(), {("address", BOB): known(seen=3, days=3), ("domain", "far.test"): known()}, True, None, ""),
        # Then its domain.
        (who(), {("to-domain", "far.test"): known()}, True, -1.5, "You have written to others at far.test"),
        (who(), {("domain", "far.test"): known(good=2.0)}, True, -1.5, "You wanted mail from others at far.test"),
        (who(), {("domain", "far.test"): BAD}, True, 1.0, "You put mail from others at far.test into Junk"),
        (who(), {("domain", "far.test"): VERY_BAD}, True, 2.5, "into Junk"),
        (who(), {("domain", "far.test"): known(good=1.0, bad=3.0)}, True, None, ""),
        (who(), {}, True, 0.5, "You have never had mail from far.test"),
        (who(), {}, False, 1.0, "Nobody here has ever had mail from far.test"),
        # Where anybody gets an address the others say nothing.
        (who("x@gmail.com"), {("domain", "gmail.com"): VERY_BAD}, True, 0.5, "never had mail from x@gmail.com"),
        (who("x@gmail.com"), {("to-domain", "gmail.com"): known()}, True, 0.5, "never"),
        (who("x@gmail.com"), {("address", "x@gmail.com"): known()}, True, None, ""),
        # Then whose servers it came by.
        (who(), {("network", "c0/26"): VERY_BAD, ("domain", "far.test"): known()}, True, 1.5, "from the same network"),
        (who(), {("network", "c0/26"): known(good=3.0), ("domain", "far.test"): known()}, True, -0.5, "You wanted"),
        (who(), {("network", "c0/26"): known(good=1.0, bad=3.0), ("domain", "far.test"): known()}, True, None, ""),
        (who(signers=("esp.test",)), {("signer", "esp.test"): VERY_BAD, ("domain", "far.test"): known()}, True, 1.5,
         "mail that esp.test signed"),
        (who(""), {("network", "c0/26"): VERY_BAD}, True, 1.5, "network"),
        # A claim is no proof: nothing good follows from it.
        (who(proof=""), WROTE, True, 0.0, "nothing proves that this is the answer"),
        (who(proof=""), {("domain", "far.test"): known(good=9.0), ("claim", BOB): known()}, True, None, ""),
        (who(proof=""), {("address", BOB): known(good=9.0, seen=2)}, True, 1.5, "was proved to be so until now"),
        (replace(who(proof=""), listed=True), {("address", BOB): known(seen=2)}, True, 0.5, "proved to be so"),
        (who(proof=""), {}, True, 0.5, "nothing proves that this is"),
        (who(proof=""), {("claim", BOB): BAD}, True, 1.5, "claims to be from bob@far.test"),
        (who(proof=""), {("claim", BOB): VERY_BAD}, True, 2.5, "claims to be from bob@far.test"),
        (who(proof=""), {("claim", BOB): known(seen=50, good=5)}, True, None, ""),
    ],
)  # fmt: skip
def test_what_a_history_says(
    sender: Identities, history: dict[tuple[str, str], Known], anybody: bool, points: float | None, words: str
) -> None:
    reasons = judge(sender, History(history, anybody), NOW)
    assert sum(reason.points for reason in reasons) == (points or 0.0)
    assert words in " ".join(reason.text for reason in reasons)
    assert bool(reasons) is (points is not None)


# How a history comes to be.


class World:
    """The plugin in a running server: Bob writes to Anna, and she does something with it."""

    def __init__(self, server: Server, ledger: Ledger) -> None:
        self.server = server
        self.ledger = ledger
        self._number = 0

    async def settle(self) -> None:
        """Until all is learned, on disk."""
        for group in self.server.hooks._observers.values():
            for observer in group:
                while observer._busy:  # noqa: ASYNC110  (there is no event for it)
                    await asyncio.sleep(0)
        await self.ledger.flush()

    async def score(self, author: str = BOB, *results: AuthResult, to: AccountId = ANNA, **session: Any) -> float:
        """What a new message would have; it is not delivered."""
        ctx = delivering(text(author, Message_ID=f"<{self._next()}@x>"), proofs(*results), to, **session)
        return (await self.server.hooks.delivery(ctx)).findings.score

    async def get(
        self, author: str = BOB, *results: AuthResult, to: AccountId = ANNA, copy: bytes = b"", **session: Any
    ) -> int:
        """A message comes, into INBOX; its UID. `copy`: the octets of another one."""
        number = self._next()
        message = copy or text(author, Message_ID=f"<{number}@x>")
        queue_id = QueueId(f"{number:016}")
        ctx = replace(delivering(message, proofs(*results), to, **session), queue_id=queue_id)
        await self.server.hooks.delivery(ctx)
        async with self.server.store.begin() as content:
            trace = received(
                helo="x", peer="192.0.2.7", peer_name="", by="mail.example.test", protocol="ESMTPS", queue_id=queue_id,
                recipient=to, tls="", epoch=0.0,
            )  # fmt: skip
            await content.write(b"Return-Path: <x@y>\r\n" + trace + message)
            await self.server.store.open_account(to)
            (stored,) = await self.server.store.commit(content, [Target(account=to)])
        uid: int = stored.uid  # type: ignore[union-attr]
        self.server.hooks.emit(Delivered(queue_id=ctx.queue_id, account=to, mailbox="INBOX", uid=uid, size=1))
        await self.settle()
        return uid

    async def move(self, uid: int, source: str, target: str, account: AccountId = ANNA) -> int:
        """By IMAP; the UID there."""
        store = await self.server.store.open_account(account)
        async with store.open(source) as mailbox:
            result = await mailbox.move([uid], target)
        self.server.hooks.emit(
            Moved(
                account=account, mailbox=target, uids=NumSet.from_numbers(result.target), source_account=account,
                source=source,
            )
        )  # fmt: skip
        await self.settle()
        return result.target[0]

    async def flag(self, uid: int, flag: str, how: FlagChange = FlagChange.ADD, account: AccountId = ANNA) -> None:
        """By IMAP."""
        store = await self.server.store.open_account(account)
        async with store.open("INBOX") as mailbox:
            await mailbox.set_flags([uid], how, frozenset({flag}))
        self.server.hooks.emit(
            FlagsChanged(
                account=account, mailbox="INBOX", uids=NumSet.from_numbers([uid]), how=how, flags=frozenset({flag})
            )
        )
        await self.settle()

    async def write(self, *recipients: str, account: str = ANNA, service: str = "submission") -> None:
        """A message of an account was accepted."""
        self.server.hooks.emit(
            Accepted(
                session=SessionId("s"), queue_id=QueueId("q"), service=service, sender=account, recipients=recipients,
                size=1, account=account,
            )
        )  # fmt: skip
        await self.settle()

    def _next(self) -> int:
        self._number += 1
        return self._number


@asynccontextmanager
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("mailserver.plugins.reputation.ledger._PAUSE", 1000.0)
    sections = alone("accounts", reputation={})
    async with running(tmp_path, sections=sections, order=("accounts", "reputation")) as server:
        for account in (ANNA, BEN):
            await server.add(account)
        (hook,) = server.hooks._calls["on_delivery"]
        yield World(server, hook.fn.__self__._ledger)  # type: ignore[attr-defined]


async def test_an_address_that_the_account_wrote_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, monkeypatch) as it:
        assert await it.score(BOB, dmarc("far.test")) == 1.0
        await it.write("Bob@FAR.test", "nonsense", '"a b"@far.test')
        assert await it.score(BOB, dmarc("far.test")) == -4.0
        assert await it.score("eve@far.test", dkim("far.test")) == -1.5
        # Another account has its own history.
        assert await it.score(BOB, dmarc("far.test"), to=BEN) == 1.0
        # What is not proved gets nothing out of it.
        assert await it.score(BOB) == 0.0
        assert await it.score(BOB, spf("evil.test"), dmarc("far.test", "fail")) == 0.0
        assert await it.score(f"{BOB}\r\nFrom: eve@evil.test", dmarc("far.test")) == 0.0
        # Mail of strangers is nobody's writing.
        await it.write("carl@else.test", account="", service="smtp")
        assert await it.score("carl@else.test", dmarc("else.test")) == 1.0


async def test_domains_that_look_like_those_of_correspondents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, monkeypatch) as it:
        await it.write("clerk@goodbank.test", "x@else.test")
        for domain, points in (
            ("g00dbank.test", 3.0), ("goodbamk.test", 1.5), ("goodbank.test.evil.test", 1.5), ("badbank.test", 0.0),
        ):  # fmt: skip
            assert await it.score(f"clerk@{domain}", dmarc(domain)) == points + 1.0, domain
            assert await it.score(f"clerk@{domain}") == points + 0.5, domain
            assert await it.score(f"clerk@{domain}", dmarc(domain), to=BEN) == 1.0, domain
        # To whom the account wrote, that one is no copy of another.
        await it.write("clerk@goodbamk.test")
        assert await it.score("chief@goodbamk.test", dmarc("goodbamk.test")) == -1.5
        # It is said in words.
        ctx = delivering(text("clerk@g00dbank.test"))
        reasons = (await it.server.hooks.delivery(ctx)).findings.reasons
        assert "g00dbank.test looks the same as goodbank.test, to which you have written" in reasons[1].text


async def test_what_is_done_with_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = dmarc("far.test")
    async with world(tmp_path, monkeypatch) as it:
        uid = await it.get(BOB, proof)
        assert await it.score(BOB, proof) == 0.0
        assert await it.score("eve@far.test", proof, to=BEN) == 0.5
        uid = await it.move(uid, "INBOX", "Junk")
        assert await it.score(BOB, proof) == 3.0
        assert await it.score("eve@far.test", proof) == 1.0
        assert await it.score(BOB, proof, to=BEN) == 0.5
        # From Junk into the trash it stays what it was; out of Junk it was a mistake.
        trash = await it.move(uid, "Junk", "Trash")
        assert await it.score(BOB, proof) == 3.0
        uid = await it.move(trash, "Trash", "Junk")
        uid = await it.move(uid, "Junk", "INBOX")
        assert await it.score(BOB, proof) == -3.0
        # Said twice, it counts once.
        await it.flag(uid, "$NotJunk")
        uid = await it.move(uid, "INBOX", "Archive")
        assert await it.score(BOB, proof) == -3.0
        second, third = await it.get(BOB, proof), await it.get(BOB, proof)
        await it.flag(second, "$Junk")
        assert await it.score(BOB, proof) == 0.0
        await it.flag(third, "Junk")
        assert await it.score(BOB, proof) == 5.0
        await it.flag(third, "Junk", FlagChange.REMOVE)
        await it.flag(third, "nonjunk")
        assert await it.score(BOB, proof) == -3.0


async def test_what_is_kept_and_what_is_deleted_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = dmarc("far.test")
    async with world(tmp_path, monkeypatch) as it:
        store = await it.server.store.open_account(ANNA)
        for mailbox in ("Rejects", "Friends"):
            await store.create(mailbox)
        kept = dmarc("kept.test")
        await it.move(await it.get("x@kept.test", kept), "INBOX", "Friends")
        assert await it.score("x@kept.test", kept) == -3.0
        answered = dmarc("answered.test")
        await it.flag(await it.get("x@answered.test", answered), "\\Answered")
        assert await it.score("x@answered.test", answered) == -3.0
        read = await it.get(BOB, proof)
        await it.flag(read, "\\Seen")
        await it.move(read, "INBOX", "Trash")
        assert await it.score(BOB, proof) == 0.0
        # However often that is: it never is as bad as Junk.
        for expected in (0.0, 0.0, 1.0, 1.0, 1.0):
            await it.move(await it.get(BOB, proof), "INBOX", "Trash")
            assert await it.score(BOB, proof) == expected
        # Mail that is put into Rejects by hand says nothing, out of it everything.
        wanted = dmarc("wanted.test")
        uid = await it.move(await it.get("x@wanted.test", wanted), "INBOX", "Rejects")
        assert await it.score("x@wanted.test", wanted) == 0.0
        await it.move(uid, "Rejects", "INBOX")
        assert await it.score("x@wanted.test", wanted) == -3.0
        # Any mailbox may have the role of Junk.
        spam = dmarc("spam.test")
        await store.create("Spam", [SpecialUse.JUNK])
        await it.move(await it.get("x@spam.test", spam), "INBOX", "Spam")
        assert await it.score("x@spam.test", spam) == 3.0


async def test_who_only_claims_to_be_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, monkeypatch) as it:
        assert await it.score(BOB) == 0.5
        await it.move(await it.get(BOB), "INBOX", "Junk")
        assert await it.score(BOB) == 1.5
        # Bob himself is not to blame.
        assert await it.score(BOB, dmarc("far.test")) == 1.0
        for _ in range(3):
            await it.get("eve@far.test", dmarc("far.test"))
        assert await it.score("eve@far.test") == 1.5
        # Mailing lists break proofs.
        assert await it.score("eve@far.test\r\nList-Id: <friends.test>") == 0.5


async def test_networks_and_signers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, monkeypatch) as it:
        for number in range(3):
            uid = await it.get(f"x@s{number}.test", dmarc(f"s{number}.test"), dkim("esp.test"), peer="192.0.2.1")
            await it.move(uid, "INBOX", "Junk")
        assert await it.score("y@new.test", dmarc("new.test"), peer="192.0.2.60") == 2.5
        assert await it.score("y@new.test", dmarc("new.test"), peer="198.51.100.1") == 1.0
        assert await it.score("y@new.test", dmarc("new.test"), dkim("ESP.test"), peer="198.51.100.1") == 2.5


async def test_time_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = dmarc("far.test")
    async with world(tmp_path, monkeypatch) as it:
        await it.move(await it.get(BOB, proof), "INBOX", "Junk")
        it.server.clock.advance(179 * DAY)
        assert await it.score(BOB, proof) == 3.0
        it.server.clock.advance(2 * DAY)
        assert await it.score(BOB, proof) == 0.0


@pytest.mark.parametrize("session", [{"trusted": True}, {"account": BEN}, {"service": "submission"}])
async def test_whose_mail_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]
) -> None:
    async with world(tmp_path, monkeypatch) as it:
        await it.get(BOB, dmarc("far.test"), **session)
        assert await it.score(BOB, dmarc("far.test"), **session) == 0.0
        assert await it.score(BOB, dmarc("far.test")) == 1.0


async def test_between_accounts_nothing_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, monkeypatch) as it:
        uid = await it.get(BOB, dmarc("far.test"))
        uids = NumSet.from_numbers([uid])
        it.server.hooks.emit(
            Moved(account=ANNA, mailbox="INBOX", uids=uids, source_account=BEN, source="Junk", copied=True)
        )
        # What is gone meanwhile does no harm.
        it.server.hooks.emit(Moved(account=ANNA, mailbox="Gone", uids=uids, source_account=ANNA, source="Junk"))
        gone = AccountId("gone@example.test")
        it.server.hooks.emit(
            FlagsChanged(account=gone, mailbox="INBOX", uids=uids, how=FlagChange.ADD, flags=frozenset({"$Junk"}))
        )
        await it.settle()
        assert await it.score(BOB, dmarc("far.test")) == 0.0
        assert [counter.failures for counter in it.server.hooks.counters()] == [0] * len(it.server.hooks.counters())


async def test_a_message_without_an_author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, monkeypatch) as it:
        for author in ("a@x.test, b@x.test", "nothing", ""):
            await it.get(author, dmarc("x.test"))
            assert await it.score(author, dmarc("x.test"), peer="nothing") == 0.0


async def test_who_copies_a_header_cannot_have_its_author_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody on the same mailing list has read it, and sends junk with the same header, or the same message."""
    async with world(tmp_path, monkeypatch) as it:
        message = text(BOB, Message_ID="<1@list.test>")
        await it.get(BOB, dmarc("far.test"), copy=message)
        for copy in (message, message.replace(b"\r\n\r\n", b"\r\n\r\nBuy pills! ")):
            uid = await it.get(BOB, spf("evil.test"), copy=copy, peer="203.0.113.9")
            await it.move(uid, "INBOX", "Junk")
        assert await it.score(BOB, dmarc("far.test")) == 0.0
        # Nor can he take for himself what the account says of the author's.
        await it.get(BOB, spf("evil.test"), copy=message, peer="203.0.113.9")
        uid = await it.get(BOB, dmarc("far.test"), copy=message)
        await it.move(uid, "INBOX", "Junk")
        assert await it.score(BOB, dmarc("far.test")) == 3.0


def test_only_what_came_in_here_has_a_name() -> None:
    named = b" by mail.example.test with ESMTPS id 0123456789abcdef for <a@b>; Thu\r\n"
    for header, key in {
        b"Received: from x\r\n" + named: b"0123456789abcdef",
        # Only the first one is ours.
        b"Received: from x by y; Thu\r\nReceived: from x\r\n" + named: b"",
        b"Received: from x (id 0123456789abcdef)\r\n by y with ESMTP id 123; Thu\r\n": b"",
        b"Subject: x\r\n": b"",
    }.items():
        assert stored_key(MessageView.of(header + b"\r\ntext\r\n")) == key


# On disk.


@asynccontextmanager
async def ledger(tmp_path: Path, clock: FakeClock, **settings: Any) -> AsyncIterator[Ledger]:
    async with open_ledger(tmp_path / "reputation.db", clock, ReputationSettings(**settings)) as made:
        yield made


def rows(tmp_path: Path, what: str) -> list[Any]:
    with sqlite3.connect(tmp_path / "reputation.db") as db:
        found = db.execute(what).fetchall()
    db.close()
    return found


async def test_it_is_bounded(tmp_path: Path, fake_clock: FakeClock) -> None:
    """A flood of senders takes the place of other silent ones, not of those who are known."""
    async with ledger(tmp_path, fake_clock, max_size=1 << 20) as it:
        it.note(Seen(ANNA, b"", fake_clock.time(), [("to", BOB)]))
        it.note(Seen(ANNA, b"k", fake_clock.time(), [("address", "good@x.test")]))
        it.note(Filing(ANNA, b"k", fake_clock.time(), "wanted"))
        for turn in range(3):
            fake_clock.advance(601)
            for number in range(2000):
                name = f"{turn:03}{number:05}"
                senders = [("address", f"{name}@{'x' * 40}.test"), ("domain", f"{name}{'x' * 40}.test")]
                it.note(Seen(ANNA, name.encode(), fake_clock.time(), senders))
            await it.flush()
        fake_clock.advance(601)
        it.note(Seen(ANNA, b"l", fake_clock.time(), []))
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (rows(tmp_path, f"PRAGMA {name}")[0][0] for name in names)
    assert (pages - free) * size <= 1 << 20
    assert rows(tmp_path, "SELECT kind FROM sender WHERE value IN ('bob@far.test', 'good@x.test') ORDER BY 1") == [
        ("address",), ("to",),
    ]  # fmt: skip


async def test_it_forgets(tmp_path: Path, fake_clock: FakeClock) -> None:
    async with ledger(tmp_path, fake_clock, forget=10 * DAY) as it:
        it.note(Seen(ANNA, b"k", fake_clock.time(), [("address", BOB)]))
        fake_clock.advance(9 * DAY)
        it.note(Seen(ANNA, b"l", fake_clock.time(), [("address", "eve@far.test")]))
        await it.flush()
        fake_clock.advance(2 * DAY)
        it.note(Filing(ANNA, b"nothing", fake_clock.time(), "junk"))
    assert rows(tmp_path, "SELECT value FROM sender") == [("eve@far.test",)]
    assert rows(tmp_path, "SELECT key FROM mail") == [(b"l",)]


async def test_the_same_message_again_teaches_nothing(tmp_path: Path, fake_clock: FakeClock) -> None:
    async with ledger(tmp_path, fake_clock) as it:
        for _ in range(5):
            it.note(Seen(ANNA, b"k", fake_clock.time(), [("address", BOB)]))
            it.note(Filing(ANNA, b"k", fake_clock.time(), "junk"))
    assert rows(tmp_path, "SELECT seen, bad FROM sender") == [(1, 1.0)]


async def test_what_the_disk_refuses_is_left_out(
    tmp_path: Path, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("mailserver.plugins.reputation.ledger._MOST_WAITING", 2)
    async with ledger(tmp_path, fake_clock) as it:
        with monkeypatch.context() as patch:
            patch.setattr(database, "write", refuse)
            for _ in range(3):
                it.note(Seen(ANNA, b"k", fake_clock.time(), [("address", BOB)]))
            await it.flush()
        assert it.lost == 3
        it.note(Seen(ANNA, b"k", fake_clock.time(), [("address", BOB)]))
    assert rows(tmp_path, "SELECT seen FROM sender") == [(1,)]


async def test_a_history_that_cannot_be_read_is_no_opinion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with world(tmp_path, monkeypatch) as it:
        monkeypatch.setattr(database, "recall", refuse)
        verdict = await it.server.hooks.delivery(delivering(findings=proofs(dmarc("far.test"))))
        assert verdict.findings == Findings()
