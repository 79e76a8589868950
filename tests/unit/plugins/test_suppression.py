"""Suppression: what comes on the list, what does not, who is told, and who cannot put others on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import MessageContext, RcptContext
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import InvalidInput, MailError, NotFound, StorageFailure
from mailserver.model.events import Attempted, Bounced, Event, Judged, Suppressed
from mailserver.model.findings import AuthResult, Findings
from mailserver.model.ids import AccountId, QueueId, new_queue_id
from mailserver.model.verdict import Accept, Reject, Verdict
from mailserver.net.settings import LimitsSettings
from mailserver.plugins.suppression import database
from mailserver.plugins.suppression.ledger import open_ledger
from mailserver.plugins.suppression.origin import came_from
from mailserver.ports.reports import Action
from tests.helpers.content import BytesContent
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import Server, make_session, running
from tests.helpers.reports import told, write

ANNA, BERT = AccountId("anna@example.test"), AccountId("bert@example.test")
BOB = "bob@far.test"
DAY = 86_400.0
MX, MX_ADDRESS = "mx.far.test", "192.0.2.25"


class World:
    """The plugin in a running server, with what it told."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.events: list[Event] = []

    async def settle(self) -> None:
        """Until every observer has what was emitted."""
        for group in self.server.hooks._observers.values():
            for observer in group:
                while observer._busy:  # noqa: ASYNC110  (there is no event for it)
                    await asyncio.sleep(0.001)

    async def attempt(self, to: str = BOB, account: str = ANNA, queue_id: str = "", **fields: Any) -> QueueId:
        """An attempt has ended; refused as unknown unless `fields` say otherwise."""
        given: dict[str, Any] = {
            "outcome": Outcome.FAILED, "status": "5.1.1", "code": 550, "reply": "5.1.1 User unknown", "remote": MX,
            "address": MX_ADDRESS,
        }  # fmt: skip
        made = QueueId(queue_id) if queue_id else new_queue_id()
        self.server.hooks.emit(
            Attempted(
                queue_id=made, at=self.server.clock.time(), arrived=0.0, sender=account, account=account, recipient=to,
                attempt=1, size=1, destination="far.test", result=Result(**(given | fields)),
            )
        )  # fmt: skip
        await self.settle()
        return made

    async def taken(self, to: str = BOB, queue_id: str = "", **fields: Any) -> QueueId:
        """A server took a message."""
        return await self.attempt(to, queue_id=queue_id, outcome=Outcome.DELIVERED, status="2.0.0", code=250, **fields)

    async def rcpt(self, to: str = BOB, account: str | None = ANNA, local: bool = False) -> Verdict:
        """The verdict on RCPT at submission."""
        session = make_session(service="submission", account=account)
        recipient = Recipient(address=EmailAddress.parse(to))
        return await self.server.hooks.rcpt(
            RcptContext(session=session, envelope=Envelope(sender=None), recipient=recipient, local=local)
        )

    async def refused(self, to: str = BOB, account: str | None = ANNA) -> bool:
        return isinstance(await self.rcpt(to, account), Reject)

    async def submitted(self, *to: str, queue_id: str = "", sender: str | None = ANNA) -> str:
        """The mark that a submitted message gets, "" for none."""
        envelope = Envelope(
            sender=EmailAddress.parse(sender) if sender else None,
            recipients=tuple(Recipient(address=EmailAddress.parse(one)) for one in to or (BOB,)),
        )
        session = make_session(service="submission", account=ANNA)
        verdict = await self.message(envelope, b"Subject: x\r\n\r\n", session, queue_id)
        assert isinstance(verdict, Accept)
        fields = {field.name: field.value for field in verdict.headers}
        return fields.get("X-Sent-Token", "")

    async def bounce(
        self, token: str, *addresses: str, peer: str = MX_ADDRESS, to: str = ANNA, **fields: Any
    ) -> Verdict:
        """A report comes to port 25."""
        recipients = [told(one, **fields) for one in addresses or (BOB,)]
        report = write(*recipients, sender=ANNA, head=f"X-Sent-Token: {token}\r\nSubject: x\r\n\r\n".encode())
        envelope = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse(to)),))
        return await self.message(envelope, report.content, make_session(peer=peer))

    async def message(self, envelope: Envelope, content: bytes, session: Any, queue_id: str = "") -> Verdict:
        return await self.server.hooks.message(
            MessageContext(
                session=session, queue_id=QueueId(queue_id) if queue_id else new_queue_id(), envelope=envelope,
                content=BytesContent(content),
            )
        )  # fmt: skip

    async def operate(self, name: str, **arguments: Any) -> Any:
        (found,) = [c.value for c in self.server.hooks.contributions("operation") if c.name == f"suppression.{name}"]
        return await found(arguments)

    def seen(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def world_of(path: Path, **settings: Any) -> AsyncIterator[World]:
    sections = {"suppression": settings}
    async with running(
        path, sections=sections, limits=LimitsSettings(trusted=[]), order=("suppression", "accounts")
    ) as server:
        for account in (ANNA, BERT):
            if server.directory.account(account) is None:
                await server.add(account)
        world = World(server)
        server.told.append(world.events.append)
        yield world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as world:
        yield world


async def test_who_is_not_there_is_refused_at_once(world: World) -> None:
    assert not await world.refused()
    await world.attempt()
    verdict = await world.rcpt("BOB@far.test")
    assert isinstance(verdict, Reject)
    assert (verdict.reply.code, verdict.reply.status) == (550, "5.1.1")
    assert "mailserver suppression remove bob@far.test" in verdict.reply.text
    assert not await world.refused("bobby@far.test")
    assert not await world.refused(account=BERT)
    (event,) = world.seen(Suppressed)
    assert (event.account, event.recipient, event.status) == (ANNA, BOB, "5.1.1")
    # Strangers' mail, and mail for our own addresses, is none of its business.
    assert not await world.refused(account=None)
    assert not isinstance(await world.rcpt(local=True), Reject)


@pytest.mark.parametrize(
    "result",
    [
        {"status": "5.2.2", "code": 552, "reply": "5.2.2 mailbox full"},
        {"status": "5.1.1", "code": 550, "reply": "5.1.1 Quota exceeded (mailbox for user is full)"},
        {"status": "5.7.1", "code": 550, "reply": "5.7.1 Message rejected as spam"},
        {"status": "5.1.1", "code": 554, "reply": "5.1.1 blocked using Spamhaus"},
        {"status": "5.4.1", "code": 550, "reply": "5.4.1 Recipient address rejected: Access denied"},
        {"status": "5.7.26", "code": 550, "reply": "5.7.26 unauthenticated email is not accepted: user unknown"},
        {"status": "5.1.8", "code": 550, "reply": "5.1.8 Sender address rejected: user unknown"},
        {"status": "4.1.1", "code": 450, "reply": "4.1.1 user unknown"},
        {"status": "5.1.2", "code": 0, "reply": "far.test does not exist", "remote": "", "address": ""},
        {"status": "5.1.10", "code": 0, "reply": "null MX", "remote": "", "address": ""},
        {"status": "5.1.1", "code": 0, "reply": "user unknown", "remote": "", "address": ""},
        {"status": "4.1.1", "code": 550, "reply": "user unknown"},
        {"status": "5.1.1", "code": 535, "reply": "user not found"},
        {"status": "5.4.4", "code": 550, "reply": "no such user"},
        {"status": "5.0.0", "code": 550, "reply": "domain anna.test does not exist"},
        {"status": "5.0.0", "code": 550, "reply": "your account is disabled"},
        {"status": "5.7.1", "code": 550, "reply": "user unknown to this policy"},
        {"status": "4.4.7", "code": 0, "reply": "too old"}, {"status": "5.0.0", "code": 550, "reply": "no"},
        {"outcome": Outcome.DEFERRED, "status": "4.1.1", "code": 550, "reply": "user unknown"},
        {"outcome": Outcome.DELIVERED, "status": "2.1.5", "code": 250, "reply": "user unknown"},
    ],
)  # fmt: skip
async def test_other_failures_are_none_of_the_address(world: World, result: dict[str, Any]) -> None:
    await world.attempt(**result)
    assert not await world.refused()
    assert await world.operate("list") == []


@pytest.mark.parametrize(
    "result",
    [
        {"status": "5.1.6", "reply": "5.1.6 moved"}, {"status": "5.2.1", "reply": "5.2.1 account is inactive"},
        {"status": "5.1.10", "reply": "5.1.10 RESOLVER.ADR.RecipientNotFound"},
        {"status": "5.5.0", "reply": "This user doesn't have a yahoo.com account"},
    ],
)  # fmt: skip
async def test_nobody_is_there_in_other_words(world: World, result: dict[str, Any]) -> None:
    await world.attempt(**result)
    assert await world.refused()


async def test_mail_of_strangers_fills_nobodys_list(world: World) -> None:
    await world.attempt(account="")
    assert await world.operate("list") == []


async def test_a_week_and_then_three_months(world: World) -> None:
    await world.attempt()
    world.server.clock.advance(7 * DAY - 1)
    assert await world.refused()
    world.server.clock.advance(2)
    assert not await world.refused()
    await world.attempt()
    world.server.clock.advance(90 * DAY - 1)
    assert await world.refused()
    world.server.clock.advance(2)
    assert not await world.refused()
    # Long after that, it is a first time again.
    world.server.clock.advance(91 * DAY)
    await world.attempt()
    (row,) = await world.operate("list")
    assert (row["times"], row["until"] - row["since"]) == (1, 7 * DAY)


async def test_mail_from_there_lifts_it(world: World) -> None:
    await world.attempt()
    proved = AuthResult(method="spf", result="pass", properties=(("smtp.mailfrom", BOB),))
    forged = replace(proved, result="softfail")
    event = Judged(
        queue_id=QueueId("q"), account=AccountId(ANNA), peer="192.0.2.7", sender=BOB, recipient=ANNA, message_id="",
        mailbox="INBOX", findings=Findings((proved,)), reply="250 2.0.0 Ok", refused=False,
    )  # fmt: skip
    # Anybody can write any address as his own; nothing proves it, or not him, or it was not taken.
    for other in (
        {"findings": Findings()}, {"findings": Findings((forged,))}, {"sender": "other@elsewhere.test"},
        {"refused": True}, {"findings": Findings((replace(proved, properties=(("smtp.mailfrom", "x@else.test"),)),))},
    ):  # fmt: skip
        world.server.hooks.emit(replace(event, **other))
        await world.settle()
        assert await world.refused()
    world.server.hooks.emit(event)
    await world.settle()
    assert not await world.refused()
    await world.attempt()
    (row,) = await world.operate("list")
    assert row["times"] == 2


async def test_it_survives_a_restart(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        await world.attempt()
        queue_id = await world.taken("carla@far.test")
        token = await world.submitted("carla@far.test", queue_id=queue_id)
    async with world_of(tmp_path) as world:
        assert await world.refused()
        await world.bounce(token, "carla@far.test")
        assert await world.refused("carla@far.test")
    assert (tmp_path / ".server" / "suppression.db").stat().st_mode & 0o777 == 0o600


async def test_what_another_one_writes_is_seen(tmp_path: Path) -> None:
    """Loaded anew, the plugin is there twice until the old one has ended."""
    async with world_of(tmp_path) as old:
        await old.attempt("a@far.test")
        async with open_ledger(tmp_path / ".server" / "suppression.db", old.server.clock, DAY) as new:
            await old.attempt()
            assert new.get(ANNA, BOB) is None
            await new.sent(new_queue_id())
            assert new.get(ANNA, BOB) == (await entries_of(old))[1]
            await old.operate("remove", address=BOB)
            await new.put(replace((await entries_of(old))[0], address="c@far.test"), 10)
            assert [entry.address for entry in new.entries()] == ["a@far.test", "c@far.test"]


async def entries_of(world: World) -> list[database.Entry]:
    rows = await world.operate("list")
    return [database.Entry(**{name: value for name, value in row.items() if name != "active"}) for row in rows]


async def test_the_list_of_an_account_is_bounded(tmp_path: Path) -> None:
    async with world_of(tmp_path, most=3) as world:
        for n in range(5):
            await world.attempt(f"u{n}@far.test")
            world.server.clock.advance(1)
        await world.attempt(account=BERT)
        rows = await world.operate("list", account=ANNA)
        assert [row["address"] for row in rows] == ["u2@far.test", "u3@far.test", "u4@far.test"]
        assert not await world.refused("u0@far.test")
    async with world_of(tmp_path, most=3) as world:
        assert len(await world.operate("list")) == 4


class TestOperations:
    async def test_add_and_remove(self, world: World) -> None:
        await world.operate("add", account=ANNA, address="Bob@far.test", reason="asked for it")
        verdict = await world.rcpt()
        assert isinstance(verdict, Reject)
        assert "by the administrator on 2027-01-15 (asked for it)" in verdict.reply.text
        world.server.clock.advance(1000 * DAY)
        assert await world.refused()
        # What the administrator wants is not changed by what happens.
        await world.attempt()
        assert (await world.operate("list"))[0]["source"] == "added"
        assert await world.operate("remove", address="bob@FAR.test") == {
            "removed": [{"account": ANNA, "address": BOB}]
        }
        assert not await world.refused()

    async def test_remove_of_a_domain_or_an_account(self, world: World) -> None:
        for to, account in ((BOB, ANNA), ("x@far.test", BERT), ("x@farther.test", ANNA)):
            await world.attempt(to, account)
        await world.operate("remove", address="@far.test", account=BERT)
        assert [row["address"] for row in await world.operate("list")] == [BOB, "x@farther.test"]
        await world.operate("remove", address="@far.test")
        assert [row["address"] for row in await world.operate("list")] == ["x@farther.test"]

    @pytest.mark.parametrize(
        ("name", "arguments", "error"),
        [
            ("remove", {"address": BOB}, NotFound), ("remove", {"address": "@far.test"}, NotFound),
            ("remove", {"address": "x"}, InvalidInput), ("add", {"address": BOB}, InvalidInput),
            ("add", {"address": BOB, "account": "nobody@example.test"}, NotFound),
            ("add", {"address": "", "account": ANNA}, InvalidInput), ("list", {"account": "x@y.test"}, NotFound),
        ],
    )  # fmt: skip
    async def test_mistakes(self, world: World, name: str, arguments: dict[str, str], error: type[MailError]) -> None:
        with pytest.raises(error):
            await world.operate(name, **arguments)


class TestMarks:
    async def test_what_leaves_is_marked(self, world: World) -> None:
        queue_id = new_queue_id()
        token = await world.submitted(BOB, "bert@example.test", queue_id=queue_id)
        assert token.startswith(f"1.{queue_id}.")
        assert len(token) < 60
        assert token == await world.submitted(queue_id=queue_id)
        assert token != await world.submitted(queue_id=queue_id, sender="anna+x@example.test")

    async def test_what_stays_is_not(self, world: World) -> None:
        assert await world.submitted("bert@example.test") == ""
        assert await world.submitted(sender=None) == ""

    async def test_keys_differ(self, tmp_path: Path) -> None:
        tokens = set()
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            async with world_of(tmp_path / name) as world:
                tokens.add(await world.submitted(queue_id="0" * 16))
        assert len(tokens) == 2


class TestBounces:
    """A bounce that comes after the message was taken."""

    async def test_it_is_recognised_and_counts(self, world: World) -> None:
        queue_id = await world.taken()
        await world.bounce(await world.submitted(queue_id=queue_id))
        (event,) = world.seen(Bounced)
        assert (event.queue_id, event.account, event.recipient, event.status) == (queue_id, ANNA, BOB, "5.1.1")
        assert (event.reply, event.reporter, event.credible) == ("550 5.1.1 User unknown", "mx.example.test", True)
        assert await world.refused()
        assert (await world.operate("list"))[0]["source"] == "bounced"

    @pytest.mark.parametrize(
        ("success", "remembered"), [(Success.PASSED_ON, 1), (Success.DELIVERED, 0), (Success.EXPANDED, 0)]
    )
    async def test_who_else_may_bounce(self, world: World, success: Success, remembered: int) -> None:
        await world.bounce(await world.submitted(queue_id=await world.taken(success=success)))
        assert len(world.seen(Bounced)) == remembered

    async def test_it_counts_once(self, world: World) -> None:
        token = await world.submitted(queue_id=await world.taken())
        await world.bounce(token)
        await world.bounce(token)
        assert len(world.seen(Bounced)) == len(world.seen(Suppressed)) == 1

    async def test_after_the_memory_was_written(self, world: World) -> None:
        queue_id = await world.taken()
        for n in range(300):
            await world.taken(f"u{n}@far.test")
        await world.bounce(await world.submitted(queue_id=queue_id))
        assert await world.refused()

    async def test_of_a_message_long_ago_it_is_not_recognised(self, world: World) -> None:
        queue_id = await world.taken()
        world.server.clock.advance(15 * DAY)
        for n in range(300):
            await world.taken(f"u{n}@far.test")
        await world.bounce(await world.submitted(queue_id=queue_id))
        assert world.seen(Bounced) == []

    @pytest.mark.parametrize("status", ["5.2.2", "5.7.1", "5.0.0"])
    async def test_soft_ones_only_tell(self, world: World, status: str) -> None:
        token = await world.submitted(queue_id=await world.taken())
        result = Result(outcome=Outcome.FAILED, status=status, code=550, reply=f"{status} no", remote=MX)
        await world.bounce(token, result=result)
        assert len(world.seen(Bounced)) == 1
        assert not await world.refused()

    async def test_delays_are_no_bounces(self, world: World) -> None:
        token = await world.submitted(queue_id=await world.taken())
        await world.bounce(token, action=Action.DELAYED)
        assert world.seen(Bounced) == []

    async def test_who_was_meant_when_there_was_one_only(self, world: World) -> None:
        """Its server passed the message on, and speaks of the address behind: that says nothing of this one."""
        token = await world.submitted(queue_id=await world.taken())
        await world.bounce(token, "bob@behind.test")
        assert [event.recipient for event in world.seen(Bounced)] == [BOB]
        assert not await world.refused()


def test_the_memory_of_what_was_sent_is_bounded(tmp_path: Path) -> None:
    db = database.open_database(tmp_path / "suppression.db")
    for n in range(10):
        row = database.Sent(queue_id=f"q{n}", address=BOB, account=ANNA, host=MX, peer=MX_ADDRESS, at=float(n))
        database.write_sent(db, [row], since=0.0, most=3)
    assert [len(database.find_sent(db, f"q{n}")) for n in range(10)] == [0] * 7 + [1] * 3
    database.write_sent(db, [], since=9.0, most=3)
    assert [len(database.find_sent(db, f"q{n}")) for n in (7, 8, 9)] == [0, 0, 1]
    db.close()


def test_a_newer_or_broken_file_is_not_touched(tmp_path: Path) -> None:
    db = database.open_database(tmp_path / "suppression.db")
    assert len(database.key(db)) == 32
    db.execute("PRAGMA user_version=2")
    db.close()
    with pytest.raises(StorageFailure, match="newer version"):
        database.open_database(tmp_path / "suppression.db")


class TestForgedBounces:
    """Nobody puts an address on somebody's list who is not the server that took the message."""

    @pytest.fixture
    async def token(self, world: World) -> str:
        queue_id = await world.taken()
        await world.taken("carla@other.test", queue_id=queue_id, remote="mx.other.test", address="203.0.113.5")
        return await world.submitted(BOB, "carla@other.test", queue_id=queue_id)

    async def test_without_a_mark_or_with_a_made_up_one(self, world: World, token: str) -> None:
        for wrong in ("", "x", token[:-1], token[:-1] + ("a" if token[-1] != "a" else "b"), token.upper(), token + "a"):
            await world.bounce(wrong)
        assert world.seen(Bounced) == []
        assert not await world.refused()

    async def test_sent_to_somebody_else(self, world: World, token: str) -> None:
        await world.bounce(token, to=BERT)
        assert world.seen(Bounced) == []

    async def test_by_another_recipient_of_the_message(self, world: World, token: str) -> None:
        await world.bounce(token, BOB, peer="203.0.113.5")
        assert [event.credible for event in world.seen(Bounced)] == [False]
        assert not await world.refused()
        # It does not spoil the true one.
        await world.bounce(token, BOB)
        assert await world.refused()

    async def test_about_somebody_whom_the_message_was_not_for(self, world: World, token: str) -> None:
        await world.bounce(token, "dora@far.test")
        assert world.seen(Bounced) == []
        assert not await world.refused("dora@far.test")

    async def test_with_a_sender(self, world: World, token: str) -> None:
        report = write(sender=ANNA, head=f"X-Sent-Token: {token}\r\n\r\n".encode())
        recipients = (Recipient(address=EmailAddress.parse(ANNA)),)
        envelope = Envelope(sender=EmailAddress.parse(BOB), recipients=recipients)
        await world.message(envelope, report.content, make_session(peer=MX_ADDRESS))
        assert world.seen(Bounced) == []

    async def test_the_mark_outside_of_the_returned_header(self, world: World, token: str) -> None:
        content = f"X-Sent-Token: {token}\r\n".encode() + write(sender=ANNA).content
        envelope = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse(ANNA)),))
        await world.message(envelope, content, make_session(peer=MX_ADDRESS))
        assert world.seen(Bounced) == []


@pytest.mark.parametrize(
    ("peer", "name", "sent_host", "credible"),
    [
        ("198.51.100.7", "mail-wr1-f41.google.com", "gmail-smtp-in.l.google.com", True),
        ("198.51.100.7", "mail-am0.outbound.protection.outlook.com", "far.mail.protection.outlook.com", True),
        ("198.51.100.7", "out.evil.test", "mx.far.test", False), ("198.51.100.7", "out.co.uk", "mx.far.co.uk", False),
        ("198.51.100.7", "out.far.co.uk", "mx.far.co.uk", True), ("198.51.100.7", "evil.co.uk", "mx.co.uk", False),
        ("198.51.100.7", "198-51-100-7.clients.host.test", "mx1.clients.host.test", False),
        ("198.51.100.7", "google.com.evil.test", "gmail-smtp-in.l.google.com", False),
        ("192.0.2.60", "", "mx.far.test", True), ("192.0.2.70", "", "mx.far.test", False),
        ("", "", "mx.far.test", False),
    ],
)  # fmt: skip
async def test_where_a_bounce_may_come_from(peer: str, name: str, sent_host: str, credible: bool) -> None:
    resolver = FakeResolver()
    if name:
        resolver.has("ptr", peer, name)
        resolver.has("addresses", name, "192.0.2.99", peer)
    assert await came_from(peer, sent_host, "192.0.2.25", resolver) is credible


async def test_a_name_must_lead_back() -> None:
    resolver = FakeResolver()
    resolver.has("ptr", "198.51.100.7", "mx.google.com")
    resolver.has("addresses", "mx.google.com", "192.0.2.99")
    assert not await came_from("198.51.100.7", "gmail-smtp-in.l.google.com", "192.0.2.25", resolver)
    resolver.has("addresses", "mx.google.com", "198.51.100.7")
    assert await came_from("198.51.100.7", "gmail-smtp-in.l.google.com", "192.0.2.25", resolver)
    assert not await came_from("198.51.100.7", "gmail-smtp-in.l.google.com", "", resolver)


async def test_without_dns_only_the_network_counts() -> None:
    resolver = FakeResolver()
    resolver.fails("ptr", "198.51.100.7")
    assert not await came_from("198.51.100.7", "mx.far.test", "192.0.2.25", resolver)
    assert await came_from("2001:db8:1::5", "mx.far.test", "2001:db8:1:2::9", resolver)


async def test_a_bounce_from_the_same_organisation_counts(world: World) -> None:
    world.server.resolver.has("ptr", "2001:db8::1", "out7.mail.far.test")
    world.server.resolver.has("addresses", "out7.mail.far.test", "2001:DB8:0::1")
    token = await world.submitted(queue_id=await world.taken(remote="mx1.mail.far.test"))
    await world.bounce(token, peer="2001:db8::1")
    assert await world.refused()
