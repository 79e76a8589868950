"""Forwards of accounts, through the SMTP service: what is passed on, what stays, and what comes back."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailserver.hooks.contexts import DeliveryContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import STAYS_HERE, returning
from mailserver.model.errors import OverQuota
from mailserver.model.findings import Judgement
from mailserver.model.reply import Reply
from mailserver.model.verdict import Quarantine, Reject, Verdict
from tests.helpers.queue import envelope_for
from tests.helpers.smtp_service import DOMAIN, PASSWORD, SmtpHarness
from tests.helpers.turns import counted_turns
from tests.unit.smtp.test_acceptance import FailingStore
from tests.unit.smtp.test_queued import deliver, failing, job

ANNA, BEN, FAR, MORE = f"anna@{DOMAIN}", f"ben@{DOMAIN}", "bert@far.test", "cleo@far.test"


@pytest.fixture
async def server() -> AsyncIterator[SmtpHarness]:
    async with SmtpHarness(store=FailingStore()) as server:
        yield server


async def bring(server: SmtpHarness, *to: str) -> int:
    async with server.client() as client:
        await client.command("EHLO x")
        reply = await client.message("x@stranger.test", list(to), b"Subject: hello\r\n\r\nHello.\r\n")
        return reply.code


def queued(server: SmtpHarness) -> list[tuple[list[str], tuple[tuple[str, str], ...]]]:
    return [
        ([str(one.address) for one in item.envelope.recipients], item.envelope.extra) for item in server.queue.items
    ]


def back(account: str, *targets: str) -> tuple[tuple[str, str], ...]:
    return returning([(account, [EmailAddress.parse(target) for target in targets])])


async def held(server: SmtpHarness, account: str, mailbox: str = "INBOX") -> int:
    return len(await server.mail(account, mailbox))


async def test_with_and_without_a_copy(server: SmtpHarness) -> None:
    server.forwards["anna"] = ([FAR, MORE], True)
    server.forwards["ben"] = ([FAR], False)
    assert await bring(server, ANNA, BEN) == 250
    # Bert gets it once. Were he to refuse it, Ben has it nowhere else.
    assert queued(server) == [([FAR, MORE], back(BEN, FAR))]
    assert (await held(server, "anna"), await held(server, "ben")) == (1, 0)


async def test_an_account_has_its_own_targets_in_what_it_shares(server: SmtpHarness) -> None:
    """What another recipient has to do with it is not its affair."""
    cleo, dora = f"cleo@{DOMAIN}", "dora@far.test"
    server.forwards["ben"] = ([FAR], False)
    server.forwards["cleo"] = ([MORE, FAR], False)
    plain = base64.b64encode(f"\0{ANNA}\0{PASSWORD}".encode()).decode()
    async with server.client("submission") as client:
        await client.command("EHLO x")
        await client.command(f"AUTH PLAIN {plain}")
        assert (await client.message(ANNA, [FAR, dora, BEN, cleo], b"Subject: hello\r\n\r\nHello.\r\n")).code == 250
    assert queued(server) == [([FAR, dora], back(BEN, FAR) + back(cleo, FAR)), ([MORE], back(cleo, MORE))]


async def test_what_it_does_not_want_stays(server: SmtpHarness) -> None:
    said: list[Verdict] = [Quarantine("odd")]

    async def judge(ctx: DeliveryContext) -> Verdict:
        return said[0]

    server.registry.on_delivery(judge)
    await server.hooks.swap([server.registry])
    server.forwards["anna"] = ([FAR], False)
    assert await bring(server, ANNA) == 250
    assert (queued(server), await held(server, "anna"), await held(server, "anna", "Junk")) == ([], 0, 1)
    said[0] = Reject(reply=Reply(550, "5.7.1", "No"))
    assert await bring(server, ANNA) == 550
    assert queued(server) == []


async def test_who_only_forwards_is_asked_where_it_would_go(server: SmtpHarness) -> None:
    """Such a hook may answer it, as that for vacations does."""
    asked: list[str] = []
    server.registry.place(lambda ctx: asked.append(ctx.account))
    await server.hooks.swap([server.registry])
    server.forwards["anna"] = ([FAR], False)
    assert await bring(server, ANNA) == 250
    assert asked == [ANNA]


async def test_a_full_mailbox_does_not_hold_up_its_forward(server: SmtpHarness) -> None:
    failing(server)[ANNA] = OverQuota("full")
    server.forwards["anna"] = ([FAR], True)
    assert await bring(server, ANNA) == 250
    # The copy is tried again, and the forward has had it.
    assert queued(server) == [([FAR], ()), ([ANNA], STAYS_HERE)]
    failing(server).clear()
    (result,) = await deliver(server, job(envelope=server.queue.items[1].envelope))
    assert result.status == "2.0.0"
    assert (len(queued(server)), await held(server, "anna")) == (2, 1)


async def test_when_nothing_can_be_kept_nothing_is(server: SmtpHarness) -> None:
    server.forwards["anna"] = ([FAR], False)
    server.queue.failure = OverQuota("the queue is full")
    assert await bring(server, ANNA) == 451
    assert await held(server, "anna") == 0


async def test_mail_of_the_queue_is_forwarded_too(server: SmtpHarness) -> None:
    server.forwards["anna"] = ([FAR], False)
    await deliver(server, job(ANNA))
    assert queued(server) == [([FAR], back(ANNA, FAR))]
    assert await held(server, "anna") == 0
    # What came back, and what belongs into Junk, is not.
    envelope = envelope_for(ANNA, sender="x@far.test")
    for one in (replace(envelope, extra=STAYS_HERE), replace(envelope, judgements=(Judgement(quarantined=True),))):
        await deliver(server, job(envelope=one))
    assert len(queued(server)) == 1
    assert (await held(server, "anna"), await held(server, "anna", "Junk")) == (1, 1)


async def test_a_forward_that_fails_for_a_while_is_tried_again(server: SmtpHarness) -> None:
    """With the same id, so that a crash in between makes no second one."""
    server.forwards["anna"] = ([FAR], True)
    failing(server)[ANNA] = OverQuota("full")
    await deliver(server, job(ANNA))
    assert queued(server) == [([FAR], ()), ([ANNA], STAYS_HERE)]
    assert len({item.queue_id for item in server.queue.items}) == 2


async def test_a_message_to_many_names_of_a_large_list_lets_others_have_their_turn(server: SmtpHarness) -> None:
    """A user may name a list a thousand times in one message that waits in the queue."""
    server.aliases["list"] = [f"u{number}@far.test" for number in range(500)]
    made = job(*(f"list+{number}@{DOMAIN}" for number in range(40)))
    async with counted_turns() as turns:
        await deliver(server, job(f"list@{DOMAIN}"))
        before, turns.count = turns.count, 0
        results = await deliver(server, made)
    assert len(results) == 40
    # 40 names of 500: looked up, and sent on, a thousand at a time.
    assert turns.count >= before + 30
    assert len(queued(server)) == 2
