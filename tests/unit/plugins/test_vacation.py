"""vacation: who is away answers once, and nobody who did not write gets anything."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import PlaceContext, Session
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import InvalidInput, LimitReached, NotFound, StorageFailure
from mailserver.model.events import Delivered
from mailserver.model.findings import NOTHING, AuthResult, Findings, Judgement
from mailserver.model.ids import AccountId, QueueId, derived_queue_id
from tests.helpers.content import BytesContent
from tests.helpers.plugins import Server, make_session, running

ANNA, BEN = AccountId("anna@example.test"), "ben@far.test"
DAY = 86_400.0
ORDER = ("accounts", "aliases", "vacation")
MAIL = (
    "From: <ben@far.test>\r\nTo: <{to}>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <3@far.test>\r\n"
    "References: <1@far.test> <2@far.test>\r\n{header}\r\nHello.\r\n"
)


class World:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.number = 0

    async def do(self, name: str, **arguments: Any) -> Any:
        (operation,) = [c.value for c in self.server.hooks.contributions("operation") if c.name == f"vacation.{name}"]
        return await operation(arguments)

    async def away(self, **arguments: Any) -> Any:
        return await self.do("set", **({"account": ANNA, "text": "I am away."} | arguments))

    async def mail(
        self, sender: str = BEN, to: str = ANNA, *, recipient: str = "", header: str = "", mailbox: str = "INBOX",
        findings: Findings = NOTHING, quarantined: bool = False, session: Session | None = None,
        submitted: AccountId | None = None, judgements: tuple[Judgement, ...] = (),
    ) -> int:  # fmt: skip
        """A message comes; how many answers leave."""
        before = len(self.server.queue.items)
        self.number += 1
        queue_id = QueueId(f"{self.number:016d}")
        envelope = Envelope(
            sender=EmailAddress.parse(sender) if sender else None, account=submitted, judgements=judgements
        )
        placement = await self.server.hooks.place(
            PlaceContext(
                session=session or make_session(), queue_id=queue_id, envelope=envelope,
                recipient=Recipient(address=EmailAddress.parse(recipient or to)), account=ANNA, detail="",
                quarantined=quarantined, content=BytesContent(MAIL.format(to=to, header=header).encode()),
                findings=findings,
            )
        )  # fmt: skip
        assert placement is None
        self.server.hooks.emit(Delivered(queue_id=queue_id, account=ANNA, mailbox=mailbox, uid=1, size=5))
        await self.settle()
        return len(self.server.queue.items) - before

    async def settle(self) -> None:
        """Until the observer has nothing more to do: the database answers after all that it was asked before."""
        for _ in range(5):
            await asyncio.sleep(0)
            await self.do("show")

    def letter(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.server.queue.items[-1].message, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path, order=ORDER) as server:
        await server.add(ANNA)
        yield World(server)


async def test_an_answer(world: World) -> None:
    assert await world.mail() == 0
    await world.away(text="I am away.\nBack on Monday: für immer.")
    assert await world.mail() == 1
    item = world.server.queue.items[-1]
    # RFC 3834 §3.3, §3.1.
    assert item.envelope.sender is None
    assert item.envelope.own
    assert [str(one.address) for one in item.envelope.recipients] == [BEN]
    assert item.queue_id == derived_queue_id(QueueId(f"{2:016d}"), "vacation", ANNA)
    letter = world.letter()
    assert letter["From"] == ANNA
    assert letter["To"] == BEN
    assert letter["Subject"] == "Auto: Grüße"
    assert letter["Auto-Submitted"] == "auto-replied"
    assert letter["In-Reply-To"] == "<3@far.test>"
    assert letter["References"].split() == ["<1@far.test>", "<2@far.test>", "<3@far.test>"]
    assert "für immer" in letter.get_content()


async def test_once_per_sender_and_days_also_over_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, order=ORDER) as server:
        await server.add(ANNA)
        world = World(server)
        await world.away(days=3)
        assert [await world.mail(), await world.mail("Ben@FAR.test"), await world.mail("cleo@far.test")] == [1, 0, 1]
    async with running(tmp_path, order=ORDER) as server:
        world = World(server)
        assert await world.mail() == 0
        server.clock.advance(3 * DAY - 60)
        assert await world.mail() == 0
        server.clock.advance(61)
        assert [await world.mail(), await world.mail()] == [1, 0]
        # What is set anew is a new answer.
        await world.away(text="Still away.", subject="Gone fishing")
        assert await world.mail() == 1
        assert world.letter()["Subject"] == "Gone fishing"
        assert (await world.do("off", account=ANNA))["was_set"]
        assert await world.mail("dora@far.test") == 0
        assert await world.do("show") == []


async def test_dates(world: World) -> None:
    now = world.server.clock.time()
    await world.away(starts=now + DAY, ends=now + 3 * DAY)
    assert await world.mail() == 0
    world.server.clock.advance(DAY)
    assert await world.mail() == 1
    world.server.clock.advance(2 * DAY)
    assert await world.mail("cleo@far.test") == 0


async def test_addresses_that_mean_the_account(world: World) -> None:
    await world.server.directory.add_alias(EmailAddress.parse("info@example.test"), [EmailAddress.parse(ANNA)])
    await world.away(addresses=["Anna@old.test"])
    assert await world.mail("a@far.test", "list@far.test", recipient=ANNA) == 0
    assert await world.mail("a@far.test", "Anna+shop@example.test") == 1
    assert world.letter()["From"] == "Anna+shop@example.test"
    assert await world.mail("b@far.test", "info@example.test") == 1
    # Whose alias it is stays unknown.
    assert world.letter()["From"] == "info@example.test"
    assert await world.mail("c@far.test", "anna@OLD.test", recipient=ANNA) == 1
    assert await world.mail("anna@old.test") == 0
    assert await world.mail("anna+x@example.test") == 0


_PROOFS = {"spf": ("smtp.mailfrom", BEN), "dmarc": ("header.from", "far.test"), "dkim": ("header.d", "far.test")}


def found(*results: str) -> tuple[AuthResult, ...]:
    """From "spf=pass" and its like."""
    pairs = [one.split("=") for one in results]
    return tuple(AuthResult(method=m, result=r, properties=(_PROOFS[m],)) for m, r in pairs)


@pytest.mark.parametrize(
    ("results", "answers"),
    [
        ((), 1), (found("spf=pass", "dmarc=pass"), 1), (found("spf=none"), 1), (found("spf=pass", "dmarc=fail"), 0),
        (found("spf=fail"), 0), (found("spf=softfail"), 0), (found("spf=fail", "dkim=pass"), 1),
        (found("spf=temperror"), 1), (found("spf=fail", "dkim=pass", "dmarc=fail"), 0),
    ],
)  # fmt: skip
async def test_nobody_is_answered_whose_name_may_be_forged(
    world: World, results: tuple[AuthResult, ...], answers: int
) -> None:
    await world.away()
    assert await world.mail(findings=Findings(results)) == answers
    # Who logged in is known.
    assert await world.mail("cleo@example.test", session=make_session(service="submission", account="cleo"),
                            submitted=AccountId("cleo@example.test"), findings=Findings(results)) == 1  # fmt: skip


async def test_junk_lists_and_programs_are_not_answered(world: World) -> None:
    await world.away()
    assert await world.mail("") == 0
    assert await world.mail(header="List-Id: <x.far.test>\r\n") == 0
    assert await world.mail(header="Auto-Submitted: auto-replied\r\n") == 0
    assert await world.mail(quarantined=True) == 0
    for mailbox in ("Junk", "Rejects"):
        assert await world.mail(mailbox=mailbox) == 0
    assert await world.mail(mailbox="Archive") == 1


async def test_what_waited_is_answered_by_what_was_found_when_it_came(world: World) -> None:
    await world.away()
    waited = make_session(service="queue", peer="")
    forged = Findings((AuthResult(method="dmarc", result="fail"),))
    for number, (judgements, findings, answers) in enumerate([
        ((), NOTHING, 0),
        ((Judgement(account=ANNA, findings=None),), NOTHING, 0),
        ((Judgement(account=BEN),), NOTHING, 0),
        ((Judgement(account=ANNA),), NOTHING, 1),
        ((Judgement(account=ANNA, findings=forged),), forged, 0),
    ]):  # fmt: skip
        sender = f"x{number}@far.test"
        assert await world.mail(sender, session=waited, judgements=judgements, findings=findings) == answers, number


async def test_an_hour_has_so_many_answers(tmp_path: Path) -> None:
    async with running(tmp_path, order=ORDER, sections={"vacation": {"most_per_hour": 2}}) as server:
        await server.add(ANNA)
        world = World(server)
        await world.away()
        assert [await world.mail(f"{name}@far.test") for name in "abc"] == [1, 1, 0]
        server.clock.advance(3601)
        assert [await world.mail(f"{name}@far.test") for name in "acd"] == [0, 1, 1]


async def test_an_answer_that_could_not_be_queued_comes_with_the_next_message(world: World) -> None:
    await world.away()
    world.server.queue.failure = StorageFailure("the disk is full")
    assert await world.mail() == 0
    world.server.queue.failure = None
    assert await world.mail() == 1


async def test_an_address_that_is_given_to_somebody_else_answers_nobody(world: World) -> None:
    await world.away()
    await world.server.directory.remove_account(ANNA)
    world.server.clock.advance(60)
    await world.server.add(ANNA)
    assert await world.mail() == 0
    assert await world.do("show") == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"account": "nobody@example.test"}, NotFound), ({"text": " \n"}, ValueError),
        ({"text": "x" * 16_385}, LimitReached), ({"subject": "a\r\nBcc: x@y.test"}, ValueError),
        ({"subject": "x" * 201}, ValueError), ({"ends": 5.0}, ValueError), ({"days": 31}, ValueError),
        ({"days": "x"}, ValueError), ({"addresses": "x"}, ValueError), ({"addresses": ["x"]}, InvalidInput),
        ({"addresses": ['"a b"@x.test']}, InvalidInput), ({"addresses": [ANNA] * 51}, LimitReached),
        ({"starts": True}, ValueError), ({"text": 5}, ValueError),
    ],
)  # fmt: skip
async def test_what_cannot_be_set(world: World, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await world.away(**arguments)
    assert await world.do("show") == []
