"""Mail of the queue for our own addresses: mailboxes, redirects, what fails, and what must not happen twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from mailserver.hooks.contexts import PlaceContext, Placement
from mailserver.model.delivery import Destination, Outcome, Result, Success
from mailserver.model.envelope import Envelope, Notify, Recipient
from mailserver.model.errors import MailError, NotFound, OverQuota, StorageFailure
from mailserver.model.events import Delivered, Judged, Queued
from mailserver.model.findings import NOTHING, AuthResult, Findings, Judgement, Reason
from mailserver.model.ids import AccountId, QueueId
from mailserver.model.reply import Reply
from mailserver.model.verdict import Quarantine, Reject, Verdict
from mailserver.ports.delivery import Job
from mailserver.smtp.queued import QueuedDelivery
from tests.helpers.content import BytesContent
from tests.helpers.queue import envelope_for, recipient
from tests.helpers.sending import Noted
from tests.helpers.smtp import AsyncSmtp
from tests.helpers.smtp_service import DOMAIN, SmtpHarness
from tests.unit.smtp.test_acceptance import FailingStore

ANNA, BEN, CLEO = (f"{name}@{DOMAIN}" for name in ("anna", "ben", "cleo"))
MESSAGE = b"Received: by mail.example.test\r\nFrom: x@far.test\r\n\r\ntext\r\n"


@pytest.fixture
async def server() -> AsyncIterator[SmtpHarness]:
    async with SmtpHarness(store=FailingStore()) as server:
        yield server


def failing(server: SmtpHarness) -> dict[str, MailError]:
    """Accounts and what their commits fail with."""
    assert isinstance(server.store, FailingStore)
    return server.store.failing


def job(*to: str | Recipient, content: bytes = MESSAGE, **changes: Any) -> Job:
    envelope = envelope_for(*to, sender="x@far.test")
    if "envelope" in changes:
        envelope = changes.pop("envelope")
    return Job(
        queue_id=QueueId("0123456789abcdef"), destination=Destination(name="local", local=True), envelope=envelope,
        content=BytesContent(content), arrived=0.0, attempt=1, expires=1e9, about_to_end=Noted(),
    )  # fmt: skip


async def deliver(server: SmtpHarness, made: Job) -> list[Result]:
    parts = server.service.submission.parts
    delivery = QueuedDelivery(
        hooks=server.hooks, store=server.store, queue=server.queue, directory=parts.resolver._directory,
        resolver=parts.resolver,
    )  # fmt: skip
    report = await delivery.deliver(made)
    return list(report.results)


async def test_each_recipient_gets_it_with_its_return_path(server: SmtpHarness) -> None:
    made = job(ANNA, f"ben+detail@{DOMAIN}", ANNA)
    results = await deliver(server, made)
    assert [result.outcome for result in results] == [Outcome.DELIVERED] * 3
    assert {result.success for result in results} == {Success.DELIVERED}
    for account in ("anna", "ben"):
        assert await server.mail(account) == [b"Return-Path: <x@far.test>\r\n" + MESSAGE]
    assert [event.account for event in server.events if isinstance(event, Delivered)] == [ANNA, BEN]
    assert isinstance(made.about_to_end, Noted) and made.about_to_end.calls == [[0, 1, 2]]


async def test_a_large_message_is_copied_piece_by_piece(server: SmtpHarness) -> None:
    large = MESSAGE + b"0123456789abcdef\r\n" * 150_000
    await deliver(server, job(ANNA, content=large))
    (kept,) = await server.mail("anna")
    assert kept == b"Return-Path: <x@far.test>\r\n" + large


async def test_nobody_of_that_name(server: SmtpHarness) -> None:
    results = await deliver(server, job(f"nobody@{DOMAIN}", BEN))
    assert [(result.outcome, result.status) for result in results] == [
        (Outcome.FAILED, "5.1.1"), (Outcome.DELIVERED, "2.0.0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (OverQuota("full"), Outcome.DEFERRED, "4.2.2"),
        (StorageFailure("no"), Outcome.DEFERRED, "4.3.0"),
        (NotFound("gone"), Outcome.FAILED, "5.1.1"),
    ],
)
async def test_a_mailbox_that_fails(server: SmtpHarness, error: Any, outcome: Outcome, status: str) -> None:
    failing(server)[ANNA] = error
    results = await deliver(server, job(ANNA, BEN))
    assert [(result.outcome, result.status) for result in results] == [(outcome, status), (Outcome.DELIVERED, "2.0.0")]
    assert results[0].code == 0


async def test_of_an_alias_only_the_mailbox_that_failed_is_tried_again(server: SmtpHarness) -> None:
    server.aliases["all"] = [ANNA, f"ben+list@{DOMAIN}"]
    failing(server)[BEN] = StorageFailure("no")
    (result,) = await deliver(server, job(recipient(f"all@{DOMAIN}", Notify.SUCCESS, Notify.FAILURE)))
    assert (result.outcome, result.success) == (Outcome.DELIVERED, Success.DELIVERED)
    assert len(await server.mail("anna")) == 1
    (item,) = server.queue.items
    (retried,) = item.envelope.recipients
    assert str(retried.address) == f"ben+list@{DOMAIN}" and retried.original_recipient == f"rfc822;all@{DOMAIN}"
    assert retried.notify == {Notify.FAILURE}, "success is reported once"
    assert item.message == MESSAGE


async def test_a_redirect_becomes_a_message_of_its_own(server: SmtpHarness) -> None:
    server.aliases["away"] = ["x@elsewhere.test", ANNA]
    made = job(recipient(f"away@{DOMAIN}", Notify.SUCCESS))
    (result,) = await deliver(server, made)
    assert (result.outcome, result.success) == (Outcome.DELIVERED, Success.PASSED_ON)
    (item,) = server.queue.items
    assert item.message == f"Delivered-To: away@{DOMAIN}\r\n".encode() + MESSAGE
    assert [str(one.address) for one in item.envelope.recipients] == ["x@elsewhere.test"]
    assert item.envelope.recipients[0].notify == {Notify.SUCCESS}, "who takes it on reports"
    assert item.queue_id != made.queue_id and len([e for e in server.events if isinstance(e, Queued)]) == 1
    assert len(await server.mail("anna")) == 1
    # The same attempt once more, after a crash: the same id, which a queue does not take twice.
    await deliver(server, made)
    assert {item.queue_id for item in server.queue.items} == {item.queue_id}


@pytest.mark.parametrize(
    ("asked", "passed_on", "success"),
    [
        ({Notify.SUCCESS, Notify.DELAY}, {Notify.DELAY}, Success.EXPANDED),
        ({Notify.SUCCESS}, {Notify.NEVER}, Success.EXPANDED),
        ({Notify.FAILURE}, {Notify.FAILURE}, Success.PASSED_ON),
        (set(), set(), Success.PASSED_ON),
    ],
)
@pytest.mark.parametrize("here", [(), (ANNA,)])
async def test_a_redirect_to_many_is_one_success(
    server: SmtpHarness, here: tuple[str, ...], asked: set[Notify], passed_on: set[Notify], success: Success
) -> None:
    """RFC 3461 §5.2.7.3 (c): who asked about one address hears of one, not of each that is behind it."""
    server.aliases["list"] = ["x@elsewhere.test", "y@elsewhere.test", *here]
    (result,) = await deliver(server, job(recipient(f"list@{DOMAIN}", *asked)))
    assert (result.outcome, result.success) == (Outcome.DELIVERED, success)
    (item,) = server.queue.items
    assert [(str(one.address), one.notify, one.original_recipient) for one in item.envelope.recipients] == [
        (f"{name}@elsewhere.test", frozenset(passed_on), f"rfc822;list@{DOMAIN}") for name in "xy"
    ]  # fmt: skip


async def test_a_redirect_that_the_queue_does_not_take_is_tried_again(server: SmtpHarness) -> None:
    server.aliases["away"] = ["x@elsewhere.test", ANNA]
    server.queue.failure = StorageFailure("full")
    (result,) = await deliver(server, job(f"away@{DOMAIN}"))
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.0")
    assert await server.mail("anna") == [], "nothing was kept, so nothing comes twice"


async def test_an_attempt_forwards_to_one_address_once(server: SmtpHarness) -> None:
    server.aliases |= {f"n{n}": ["friend@far.test"] for n in range(9)}
    server.aliases["team"] = ["friend@far.test", "other@else.test"]
    results = await deliver(server, job(*(f"n{n}@{DOMAIN}" for n in range(9)), f"team@{DOMAIN}"))
    # Of the names after the first only we know that they got it.
    told = [Success.PASSED_ON, *[Success.EXPANDED] * 8, Success.PASSED_ON]
    assert [(result.outcome, result.success) for result in results] == [(Outcome.DELIVERED, one) for one in told]
    assert [[str(one.address) for one in item.envelope.recipients] for item in server.queue.items] == [
        ["friend@far.test"], ["other@else.test"],
    ]  # fmt: skip


async def test_what_comes_back_to_where_it_was_forwarded_fails(server: SmtpHarness) -> None:
    """ATTACKS F07."""
    server.aliases["away"] = ["x@elsewhere.test"]
    forwarded = f"Delivered-To: AWAY@{DOMAIN}\r\n".encode() + MESSAGE
    (result,) = await deliver(server, job(f"away@{DOMAIN}", content=forwarded))
    assert (result.outcome, result.status) == (Outcome.FAILED, "5.4.6")
    assert server.queue.items == []


async def test_our_own_notices_reach_a_full_mailbox(server: SmtpHarness) -> None:
    seen = []

    def place(ctx: PlaceContext) -> Placement | None:
        seen.append((ctx.session.service, ctx.queue_id, ctx.detail))
        return Placement(mailbox="Notices", create=True)

    server.registry.place(place)
    await server.hooks.swap([server.registry])
    account = await server.store.open_account(AccountId(ANNA))
    await account.set_quota(10, 0)
    own = Envelope(sender=None, recipients=(recipient(ANNA),), own=True)
    (result,) = await deliver(server, job(envelope=own))
    assert result.outcome is Outcome.DELIVERED
    assert await server.mail("anna", "Notices") == [b"Return-Path: <>\r\n" + MESSAGE]
    assert seen == [("queue", "0123456789abcdef", "")]
    (result,) = await deliver(server, job(ANNA))
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.2.2")


async def test_a_fault_of_ours_is_temporary(server: SmtpHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*arguments: object) -> list[Any]:
        raise RuntimeError("bug")

    monkeypatch.setattr(server.store, "commit", broken)
    (result,) = await deliver(server, job(ANNA))
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.0")


@pytest.fixture
async def trusting() -> AsyncIterator[SmtpHarness]:
    async with SmtpHarness(limits={"trusted": ["127.0.0.1"]}) as server:
        yield server


async def test_who_asks_for_success_goes_through_the_queue(trusting: SmtpHarness) -> None:
    server = trusting
    async with server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        assert (await smtp.command(f"RCPT TO:<{ANNA}> NOTIFY=SUCCESS,FAILURE")).code == 250
        assert (await smtp.command(f"RCPT TO:<{BEN}> NOTIFY=FAILURE")).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command("Subject: x\r\n\r\ny\r\n.")).code == 250
    await asyncio.sleep(0)
    (item,) = server.queue.items
    assert [str(one.address) for one in item.envelope.recipients] == [ANNA]
    assert await server.mail("anna") == [] and len(await server.mail("ben")) == 1


async def test_so_does_who_asks_for_it_at_an_address_that_forwards_to_many(trusting: SmtpHarness) -> None:
    """Its success is ours to report (RFC 3461 §5.2.7.3); that of one that forwards to one is not."""
    server = trusting
    server.aliases["list"] = ["x@elsewhere.test", "y@elsewhere.test"]
    server.aliases["away"] = ["z@elsewhere.test"]
    async with server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        for name in ("list", "away"):
            assert (await smtp.command(f"RCPT TO:<{name}@{DOMAIN}> NOTIFY=SUCCESS")).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command("Subject: x\r\n\r\ny\r\n.")).code == 250
    found = {str(one.address): one.notify for item in server.queue.items for one in item.envelope.recipients}
    assert found == {f"list@{DOMAIN}": {Notify.SUCCESS}, "z@elsewhere.test": {Notify.SUCCESS}}


async def test_what_was_quarantined_goes_to_junk_when_its_mailbox_works_again(server: SmtpHarness) -> None:
    judgements = (Judgement(quarantined=True, findings=None),)
    envelope = replace(envelope_for(ANNA, BEN, sender="x@far.test"), judgements=judgements)
    failing(server)[BEN] = StorageFailure("The disk failed")
    results = await deliver(server, job(envelope=envelope))
    assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.DEFERRED]
    assert len(await server.mail("anna", "Junk")) == 1 and not await server.mail("anna")


async def test_what_was_found_comes_to_the_mailbox_with_the_message() -> None:
    found = Findings((AuthResult(method="spf", result="pass"),), (Reason("test", 3.0, "Somebody said so"),))
    judgements = (Judgement(account=ANNA, findings=found), Judgement(account=BEN, findings=None, quarantined=True))
    seen: dict[str, tuple[Findings, bool]] = {}
    server = SmtpHarness()
    server.registry.place(lambda ctx: seen.update({ctx.account: (ctx.findings, ctx.quarantined)}))
    envelope = replace(envelope_for(ANNA, BEN, CLEO, sender="x@far.test"), judgements=judgements)
    async with server:
        await deliver(server, job(envelope=envelope))
    assert seen == {ANNA: (found, False), BEN: (NOTHING, True), CLEO: (NOTHING, False)}


async def test_a_copy_that_was_refused_when_it_came_is_not_brought_again(server: SmtpHarness) -> None:
    server.aliases["both"] = [ANNA, BEN]
    judgements = (Judgement(account=ANNA, refusal="Anna takes no such mail"), Judgement(account=BEN))
    envelope = envelope_for(ANNA, BEN, f"both@{DOMAIN}", sender="x@far.test")
    results = await deliver(server, job(envelope=replace(envelope, judgements=judgements)))
    assert [(result.outcome, result.status) for result in results] == [
        (Outcome.FAILED, "5.7.1"), (Outcome.DELIVERED, "2.0.0"), (Outcome.DELIVERED, "2.0.0"),
    ]  # fmt: skip
    assert results[0].reply == "Anna takes no such mail"
    assert await server.mail("anna") == [] and len(await server.mail("ben")) == 1
    (refused,) = await deliver(server, job(envelope=replace(envelope_for(ANNA), judgements=judgements)))
    assert refused.outcome is Outcome.FAILED


async def test_accounts_judge_what_goes_through_the_queue_too() -> None:
    """Who asks to be told of success, and is trusted or one of our users, gets no other judgement than others."""
    server = SmtpHarness(limits={"trusted": ["127.0.0.1"]})
    answers: dict[str, Verdict] = {
        ANNA: Quarantine("odd", findings=Findings((), (Reason("test", 6.0, "Odd"),))),
        BEN: Reject(Reply(550, "5.7.1", "Ben takes no such mail"), "no"),
    }
    server.registry.on_delivery(lambda ctx: answers.get(ctx.account))

    async def send(smtp: AsyncSmtp, *to: str) -> Reply:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        for name in to:
            assert (await smtp.command(f"RCPT TO:<{name}> NOTIFY=SUCCESS,FAILURE")).code == 250
        assert (await smtp.command("DATA")).code == 354
        reply = await smtp.command("Subject: x\r\n\r\ny\r\n.")
        return Reply(reply.code, reply.status, reply.text)

    async with server, server.client() as smtp:
        assert (await send(smtp, BEN)).code == 550 and not server.queue.items
        assert (await send(smtp, ANNA, BEN)).code == 250
        (item,) = server.queue.items
        assert len(await server.mail("ben", "Rejects")) == 1 and not await server.mail("anna")
        made = job(envelope=item.envelope)
        results = await deliver(server, made)
        assert [(result.outcome, result.reply) for result in results] == [
            (Outcome.DELIVERED, "Delivered"), (Outcome.FAILED, "Ben takes no such mail"),
        ]  # fmt: skip
        assert len(await server.mail("anna", "Junk")) == 1 and not await server.mail("ben")
    judged = {event.account: event for event in server.events if isinstance(event, Judged) and not event.refused}
    assert [reason.text for reason in judged[AccountId(ANNA)].findings.reasons] == ["Odd"]
    assert judged[AccountId(BEN)].mailbox == "Rejects"
