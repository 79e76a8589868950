"""The acceptance rule: 250 when every recipient has a durable home, and what happens when one has not."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Any

import pytest

from mailserver.hooks.contexts import DeliveryContext, MessageContext, PlaceContext, Placement, RcptContext
from mailserver.model.errors import LimitReached, MailError, OverQuota, StorageFailure
from mailserver.model.events import Accepted, Delivered, Judged, Queued, Refused
from mailserver.model.findings import AuthResult, Findings, Reason
from mailserver.model.flags import SEEN
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Stored
from mailserver.model.reply import Reply
from mailserver.model.verdict import Accept, Defer, HeaderField, Quarantine, Reject
from mailserver.ports.store import Content, Target
from mailserver.storage.memory import MemoryStore
from tests.helpers.smtp import AsyncSmtp
from tests.helpers.smtp_service import DOMAIN, SmtpHarness
from tests.helpers.waiting import soon

ANNA, BEN, CLEO = (f"{name}@{DOMAIN}" for name in ("anna", "ben", "cleo"))
MESSAGE = b"From: x@far.test\r\n\r\ntext\r\n"


class FailingStore(MemoryStore):
    """Commits fail for these accounts."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: dict[str, MailError] = {}

    async def commit(
        self, content: Content, targets: Sequence[Target], header: bytes = b""
    ) -> list[Stored | MailError]:
        results: list[Stored | MailError] = []
        for target in targets:
            error = self.failing.get(target.account)
            results += [error] if error is not None else await super().commit(content, [target], header)
        return results


async def _send(smtp: AsyncSmtp, *recipients: str, message: bytes = MESSAGE) -> tuple[int, str]:
    assert (await smtp.command("EHLO client.test")).code == 250
    reply = await smtp.message("x@far.test", list(recipients), message)
    return reply.code, reply.status


def _events(server: SmtpHarness, kind: type[Any]) -> list[Any]:
    return [event for event in server.events if isinstance(event, kind)]


async def test_several_local_recipients_get_a_copy_each() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert await _send(smtp, ANNA, BEN, f"anna+again@{DOMAIN}") == (250, "2.0.0")
        for account in ("anna", "ben"):
            (stored,) = await server.mail(account)
            assert stored.endswith(MESSAGE) and b"\tfor <" not in stored
        assert len(_events(server, Delivered)) == 2
        (accepted,) = _events(server, Accepted)
        assert accepted.recipients == (ANNA, BEN, f"anna+again@{DOMAIN}") and accepted.size == len(MESSAGE)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (OverQuota("The mailbox is full"), 452, "4.2.2"),
        (StorageFailure("The disk failed"), 451, "4.3.0"),
        (StorageFailure("The disk is full", status="4.3.1"), 452, "4.3.1"),
        (MailError("Not now", temporary=True), 451, "4.0.0"),
        (LimitReached("Too many messages"), 552, "5.3.4"),
    ],
)
async def test_when_all_fail_nothing_is_kept(error: MailError, code: int, status: str) -> None:
    store = FailingStore()
    async with SmtpHarness(store=store) as server, server.client() as smtp:
        store.failing = {ANNA: error, BEN: error}
        assert await _send(smtp, ANNA, BEN) == (code, status)
        assert await server.count() == 0 and not _events(server, Accepted)
        (refused,) = _events(server, Refused)
        assert (refused.stage, refused.code) == ("message", code)


async def test_one_that_fails_is_queued() -> None:
    store = FailingStore()
    async with SmtpHarness(store=store) as server, server.client() as smtp:
        store.failing = {BEN: StorageFailure("The disk failed")}
        assert await _send(smtp, ANNA, f"ben+shop@{DOMAIN}") == (250, "2.0.0")
        assert len(await server.mail("anna")) == 1
        (item,) = server.queue.items
        (recipient,) = item.envelope.recipients
        assert str(recipient.address) == f"ben+shop@{DOMAIN}"
        assert recipient.original_recipient == f"rfc822;ben+2Bshop@{DOMAIN}"
        assert item.message.startswith(b"Received: ") and item.message.endswith(MESSAGE)
        assert len(_events(server, Queued)) == 1


async def test_an_alias_member_that_fails_is_queued_alone() -> None:
    store = FailingStore()
    async with SmtpHarness(store=store) as server, server.client() as smtp:
        server.aliases["team"] = [ANNA, BEN]
        store.failing = {BEN: StorageFailure("The disk failed")}
        assert await _send(smtp, f"team@{DOMAIN}") == (250, "2.0.0")
        (item,) = server.queue.items
        assert [str(recipient.address) for recipient in item.envelope.recipients] == [BEN]


async def test_when_the_queue_fails_too_everything_is_taken_back() -> None:
    store = FailingStore()
    async with SmtpHarness(store=store) as server, server.client() as smtp:
        store.failing = {BEN: StorageFailure("The disk failed")}
        server.queue.failure = StorageFailure("The queue's disk failed")
        assert await _send(smtp, ANNA, CLEO, BEN) == (451, "4.3.0")
        assert await server.count() == 0 and not _events(server, Accepted) and not _events(server, Delivered)


async def test_forwarding_goes_through_the_queue() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        server.aliases["team"] = [ANNA, "friend@far.test", "other@else.test"]
        assert await _send(smtp, f"team@{DOMAIN}") == (250, "2.0.0")
        assert len(await server.mail("anna")) == 1
        (item,) = server.queue.items
        assert [str(recipient.address) for recipient in item.envelope.recipients] == [
            "friend@far.test",
            "other@else.test",
        ]
        assert item.message.startswith(f"Delivered-To: team@{DOMAIN}\r\nReceived: from".encode())
        assert b"Return-Path" not in item.message and item.envelope.account is None
        # The same message on its way back is refused.
        reply = await _send(smtp, f"team@{DOMAIN}", message=item.message)
        assert reply == (554, "5.4.6")
        assert len(server.queue.items) == 1


async def test_forwarding_to_one_address_by_many_names_is_one_message() -> None:
    """One message with a thousand recipients behind a catch-all must not become a thousand for its target."""
    async with SmtpHarness() as server, server.client() as smtp:
        server.aliases |= {f"n{n}": ["friend@far.test"] for n in range(30)}
        server.aliases["team"] = ["friend@far.test", "Friend@FAR.test", "other@else.test"]
        names = [f"n{n}@{DOMAIN}" for n in range(30)]
        assert await _send(smtp, names[0], *names, f"team@{DOMAIN}") == (250, "2.0.0")
        assert [[str(one.address) for one in item.envelope.recipients] for item in server.queue.items] == [
            ["friend@far.test"], ["other@else.test"],
        ]  # fmt: skip


async def test_e08_aliases_in_a_circle_and_too_wide() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        server.aliases |= {"a": [f"b@{DOMAIN}"], "b": [f"a@{DOMAIN}"], "half": [f"half@{DOMAIN}", ANNA]}
        server.aliases |= {f"l{n}": [f"l{n + 1}@{DOMAIN}"] for n in range(12)} | {"l12": [ANNA]}
        server.aliases |= {
            f"w{n}": [f"w{n + 1}@{DOMAIN}", *(f"u{n}x{m}@far.test" for m in range(300))] for n in range(5)
        }
        server.aliases |= {"w5": [ANNA], "dead": [f"nobody@{DOMAIN}"], "partly": [f"nobody@{DOMAIN}", ANNA]}
        for local, expected in (
            ("a", (554, "5.4.6")), ("half", (250, "2.0.0")), ("l0", (554, "5.4.6")), ("l2", (554, "5.4.6")),
            ("l3", (250, "2.0.0")), ("w0", (554, "5.4.6")), ("dead", (550, "5.1.1")), ("partly", (250, "2.0.0")),
        ):  # fmt: skip
            assert await _send(smtp, f"{local}@{DOMAIN}") == expected, local


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(Reject(Reply(550, "5.7.1", "Spam")), 550), (Defer(Reply(451, "4.7.1", "Later")), 451), (Accept(), 250)],
)
async def test_verdicts_on_the_message(verdict: Any, code: int) -> None:
    seen: list[bytes] = []

    async def on_message(ctx: MessageContext) -> Any:
        seen.append(await ctx.content.read(0, ctx.content.size))
        return verdict

    server = SmtpHarness()
    server.registry.on_message(on_message)
    async with server, server.client() as smtp:
        assert (await _send(smtp, ANNA))[0] == code
        assert seen == [MESSAGE]
        assert len(await server.mail("anna")) == (code == 250)


@pytest.mark.parametrize(("trusted", "mailbox"), [([], "Junk"), (["127.0.0.0/8"], "INBOX")])
async def test_quarantine_goes_to_junk(trusted: list[str], mailbox: str) -> None:
    server = SmtpHarness(limits={"trusted": trusted})
    server.registry.on_message(lambda ctx: Quarantine("odd", headers=(HeaderField("X-Spam", "yes"),)))
    async with server, server.client() as smtp:
        assert (await _send(smtp, ANNA))[0] == 250
        (stored,) = await server.mail("anna", mailbox)
        assert stored.startswith(b"Return-Path: <x@far.test>\r\nX-Spam: yes\r\nReceived: ")


SPF = Findings((AuthResult(method="spf", result="pass"),))
HELO = Findings((), (Reason("helo", 0.5, "an odd name"),))
NOT_MINE = Reject(Reply(550, "5.7.1", "No"), "bayes", findings=Findings((), (Reason("bayes", 9.0, "junk"),)))


async def test_what_was_found_travels_from_the_connection_to_the_mailbox() -> None:
    seen: list[Findings] = []
    server = SmtpHarness()
    server.registry.on_helo(lambda ctx: Accept(findings=HELO))
    server.registry.on_mail(lambda ctx: Accept(findings=SPF))
    server.registry.on_rcpt(lambda ctx: seen.append(ctx.findings))
    server.registry.on_message(lambda ctx: seen.append(ctx.findings))
    server.registry.on_delivery(lambda ctx: Accept(findings=HELO))
    server.registry.place(lambda ctx: seen.append(ctx.findings))
    async with server, server.client() as smtp:
        # EHLO again replaces what was found of the first one.
        await smtp.command("EHLO again.test")
        assert await _send(smtp, ANNA) == (250, "2.0.0")
        # Another transaction starts from the connection.
        assert await _send(smtp, ANNA) == (250, "2.0.0")
        assert seen == [HELO + SPF, HELO + SPF, HELO + SPF + HELO] * 2
        judged = _events(server, Judged)[0]
        assert (judged.account, judged.mailbox, judged.findings, judged.refused) == (ANNA, "INBOX", seen[2], False)


async def test_who_refuses_among_others_finds_it_in_rejects() -> None:
    server = SmtpHarness()
    server.registry.on_delivery(lambda ctx: NOT_MINE if ctx.account == ANNA else None)
    async with server, server.client() as smtp:
        assert await _send(smtp, ANNA, BEN) == (250, "2.0.0")
        assert not await server.mail("anna") and len(await server.mail("anna", "Rejects")) == 1
        assert len(await server.mail("ben")) == 1
        (judged,) = _events(server, Judged)
        assert (judged.account, judged.mailbox, judged.refused) == (ANNA, "Rejects", False)
        assert judged.findings.score == 9.0 and judged.reason == "bayes"


@pytest.mark.parametrize(("refusal", "queued"), [(NOT_MINE, 0), (Defer(Reply(451, "4.7.1", "Later")), 1)])
async def test_what_was_refused_for_good_is_not_tried_again(refusal: Reject | Defer, queued: int) -> None:
    """The queue asks nobody's opinion: the copy would come to the inbox, or back to whom the sender was forged as."""
    store = FailingStore()
    server = SmtpHarness(store=store)
    server.registry.on_delivery(lambda ctx: refusal if ctx.account == ANNA else None)
    async with server, server.client() as smtp:
        store.failing = {ANNA: OverQuota("The mailbox is full")}
        assert await _send(smtp, ANNA, BEN) == (250, "2.0.0")
        assert len(server.queue.items) == queued
        assert len(await server.mail("ben")) == 1
        # Whether the other one can be kept decides then.
        store.failing[BEN] = StorageFailure("The disk failed")
        assert (await _send(smtp, ANNA, BEN))[0] // 100 == 4


@pytest.mark.parametrize("keep", [False, True])
async def test_what_nobody_wants_is_refused(keep: bool) -> None:
    later = Defer(Reply(451, "4.7.1", "Later"), keep=keep)

    def on_delivery(ctx: DeliveryContext) -> Reject | Defer:
        return later if ctx.account == BEN else NOT_MINE

    server = SmtpHarness()
    server.registry.on_delivery(on_delivery)
    async with server, server.client() as smtp:
        assert await _send(smtp, ANNA) == (550, "5.7.1")
        # Ben may take it later, so the sender has to come again.
        assert await _send(smtp, ANNA, BEN) == (451, "4.7.1")
        assert not await server.mail("anna") and not await server.mail("ben")
        # Only who asked for it gets a copy.
        assert await server.count() == 0
        assert len(await server.mail("ben", "Rejects")) == keep
        assert [event.refused for event in _events(server, Judged)] == [True] * 3
        assert len(_events(server, Refused)) == 2 and not _events(server, Accepted)


async def test_quarantine_by_one_account() -> None:
    server = SmtpHarness(limits={"trusted": []})
    server.registry.on_delivery(lambda ctx: Quarantine("odd") if ctx.account == ANNA else None)
    async with server, server.client() as smtp:
        assert await _send(smtp, ANNA, BEN) == (250, "2.0.0")
        assert len(await server.mail("anna", "Junk")) == 1 and len(await server.mail("ben")) == 1


async def test_place_hooks_choose_mailbox_and_flags() -> None:
    def place(ctx: PlaceContext) -> Placement | None:
        return Placement(mailbox=f"Lists/{ctx.detail}", flags=frozenset({SEEN}), create=True) if ctx.detail else None

    server = SmtpHarness()
    server.registry.place(place)
    async with server, server.client() as smtp:
        assert (await _send(smtp, f"anna+py@{DOMAIN}", BEN))[0] == 250
        assert len(await server.mail("anna", "Lists/py")) == 1 and not await server.mail("anna")
        assert len(await server.mail("ben")) == 1


async def test_a_place_hook_that_fails_defers() -> None:
    def place(ctx: PlaceContext) -> Placement | None:
        raise RuntimeError("secret words")

    server = SmtpHarness()
    server.registry.place(place)
    async with server, server.client() as smtp:
        assert (await _send(smtp, ANNA))[0] == 451
        assert await server.count() == 0


async def test_full_mailboxes_are_refused_at_rcpt() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        account = await server.store.open_account(AccountId(ANNA))
        await account.set_quota(1000, 0)
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test> SIZE=2000")).code == 250
        reply = await smtp.command(f"RCPT TO:<{ANNA}>")
        assert (reply.code, reply.status) == (452, "4.2.2")
        assert (await smtp.command(f"RCPT TO:<{BEN}>")).code == 250


async def test_rcpt_hooks_see_unknown_recipients() -> None:
    seen: list[tuple[str, bool, bool]] = []
    server = SmtpHarness()
    server.registry.on_rcpt(lambda ctx: seen.append((ctx.recipient.address.local, ctx.known, ctx.local)))
    async with server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        for recipient in (ANNA, f"nobody@{DOMAIN}", "x@far.test"):
            await smtp.command(f"RCPT TO:<{recipient}>")
        assert seen == [("anna", True, True), ("nobody", False, True), ("x", False, False)]


async def test_verdicts_with_close_end_the_connection() -> None:
    def on_rcpt(ctx: RcptContext) -> Reject:
        return Reject(Reply(550, "5.7.1", "No\r\nmore é"), close=True)

    server = SmtpHarness()
    server.registry.on_rcpt(on_rcpt)
    async with server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        assert (await smtp.command(f"RCPT TO:<{ANNA}>")).code == 550
        assert await smtp.reader.read() == b""


def _reset(smtp: AsyncSmtp) -> None:
    """A FIN alone may be half a connection that still wants its reply; a RST is not."""
    sock = smtp.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    smtp.writer.transport.abort()


async def _lost(server: SmtpHarness) -> None:
    (connection,) = server.service.listeners[0].connections
    await soon(lambda: connection.stream.lost, "the connection lives")  # type: ignore[attr-defined]


async def test_a_client_that_is_gone_before_the_commit_gets_nothing_delivered() -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def on_message(ctx: MessageContext) -> None:
        waiting.set()
        await go_on.wait()

    server = SmtpHarness()
    server.registry.on_message(on_message)
    async with server:
        async with server.client() as smtp:
            task = asyncio.create_task(_send(smtp, ANNA))
            await waiting.wait()
            task.cancel()
            _reset(smtp)
        await _lost(server)
        go_on.set()
        await server.settled()
        assert await server.count() == 0


async def test_a_client_that_hangs_up_during_the_commit_does_not_cancel_it() -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    class SlowStore(MemoryStore):
        async def commit(
            self, content: Content, targets: Sequence[Target], header: bytes = b""
        ) -> list[Stored | MailError]:
            waiting.set()
            await go_on.wait()
            return await super().commit(content, targets, header)

    async with SmtpHarness(store=SlowStore()) as server:
        async with server.client() as smtp:
            task = asyncio.create_task(_send(smtp, ANNA))
            await waiting.wait()
            task.cancel()
            _reset(smtp)
        await _lost(server)
        await asyncio.sleep(0.01)
        assert len(server.service.listeners[0]) == 1  # still at work
        go_on.set()
        await server.settled()
        assert await server.count() == 1 and len(_events(server, Accepted)) == 1


@pytest.mark.parametrize("verdict", [Quarantine("odd"), Defer(Reply(451, "4.7.1", "Later"))])
async def test_a_copy_that_does_not_belong_into_the_inbox_is_marked_so_when_it_waits(verdict: Any) -> None:
    store = FailingStore()
    server = SmtpHarness(limits={"trusted": []}, store=store)
    server.registry.on_delivery(lambda ctx: verdict if ctx.account == ANNA else None)
    async with server, server.client() as smtp:
        store.failing = {ANNA: StorageFailure("The disk failed"), BEN: StorageFailure("The disk failed")}
        assert await _send(smtp, ANNA, BEN, CLEO) == (250, "2.0.0")
        marked = [(one.account, one.quarantined, one.refusal) for item in server.queue.items
                  for one in item.envelope.judgements]  # fmt: skip
        assert marked == [(BEN, False, ""), (ANNA, True, "")]
