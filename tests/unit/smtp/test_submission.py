"""Submission: headers are completed, local mail is delivered at once, the rest is queued."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import DsnReturn, Notify
from mailserver.model.events import Accepted
from mailserver.ports.directory import ScramVerifier
from mailserver.smtp.compose import HeaderCompletion, visible_senders
from tests.helpers.clock import FakeClock
from tests.helpers.smtp import AsyncSmtp
from tests.helpers.smtp_service import DOMAIN, PASSWORD, SmtpHarness

ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
PLAIN = base64.b64encode(f"\0{ANNA}\0{PASSWORD}".encode()).decode()


async def _login(smtp: AsyncSmtp) -> None:
    assert (await smtp.command("EHLO client.test")).code == 250
    assert (await smtp.command(f"AUTH PLAIN {PLAIN}")).code == 235


async def test_local_recipients_at_once_and_remote_ones_queued() -> None:
    async with SmtpHarness() as server, server.client("submission") as smtp:
        await _login(smtp)
        assert (await smtp.command(f"MAIL FROM:<{ANNA}> RET=HDRS ENVID=abc")).code == 250
        assert (await smtp.command(f"RCPT TO:<{BEN}>")).code == 250
        assert (await smtp.command("RCPT TO:<x@far.test> NOTIFY=SUCCESS")).code == 250
        assert (await smtp.command("RCPT TO:<y@else.test>")).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command(f"From: {ANNA}\r\nTo: x@far.test\r\n\r\nhello\r\n.\r\n".encode())).code == 250
        (stored,) = await server.mail("ben")
        (item,) = server.queue.items
        assert [str(recipient.address) for recipient in item.envelope.recipients] == ["x@far.test", "y@else.test"]
        assert item.envelope.recipients[0].notify == {Notify.SUCCESS}
        assert (item.envelope.dsn_return, item.envelope.envelope_id) == (DsnReturn.HEADERS, "abc")
        assert (item.envelope.account, item.envelope.own) == (ANNA, False)
        for message in (stored, item.message):
            assert message.count(b"Message-ID: <") == 1 and message.count(b"Date: ") == 1
            assert b"with ESMTPA id" in message
        assert stored.startswith(b"Return-Path: <anna@example.test>\r\n") and b"Return-Path" not in item.message


async def test_a_message_for_later_waits_in_the_queue() -> None:
    clock = FakeClock()
    async with SmtpHarness(clock=clock, submission={"hold_longest": 1000.0, "hold_messages": 2}) as server:
        async with server.client() as smtp:
            assert not any(line.startswith("FUTURERELEASE") for line in (await smtp.command("EHLO c.test")).lines)
        async with server.client("submission") as smtp:
            released = datetime.fromtimestamp(int(clock.time()) + 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            assert f"FUTURERELEASE 1000 {released}" in (await smtp.command("EHLO c.test")).lines
            await _login(smtp)
            for _ in range(2):
                assert (await smtp.command(f"MAIL FROM:<{ANNA}> HOLDFOR=100")).code == 250
                assert (await smtp.command("RCPT TO:<x@far.test>")).code == 250
                assert (await smtp.command("DATA")).code == 354
                assert (await smtp.command(f"From: {ANNA}\r\n\r\nhello\r\n.\r\n".encode())).code == 250
            reply = await smtp.command(f"MAIL FROM:<{ANNA}> HOLDFOR=100")
            assert str(reply).startswith("552 5.7.16")
            assert (await smtp.command(f"MAIL FROM:<{ANNA}>")).code == 250
        envelope = server.queue.items[0].envelope
        assert (envelope.hold_until, envelope.hold_request) == (clock.time() + 100, "for;100")


async def test_holding_can_be_switched_off() -> None:
    async with SmtpHarness(submission={"hold_longest": 0.0}) as server, server.client("submission") as smtp:
        assert not any(line.startswith("FUTURERELEASE") for line in (await smtp.command("EHLO c.test")).lines)
        await _login(smtp)
        assert (await smtp.command(f"MAIL FROM:<{ANNA}> HOLDFOR=100")).code == 555


@pytest.mark.parametrize("hidden", [True, False])
async def test_where_a_user_is_stands_in_no_mail(hidden: bool) -> None:
    """Neither in what leaves nor in what stays here; the events have it."""
    settings = {} if hidden else {"hide_client_address": False}
    async with SmtpHarness(submission=settings) as server, server.client("submission") as smtp:
        await _login(smtp)
        assert (await smtp.command(f"MAIL FROM:<{ANNA}>")).code == 250
        for to in ("x@far.test", BEN):
            assert (await smtp.command(f"RCPT TO:<{to}>")).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command(f"From: {ANNA}\r\n\r\nhello\r\n.\r\n".encode())).code == 250
        (item,) = server.queue.items
        await asyncio.sleep(0)
        assert [event.peer for event in server.events if isinstance(event, Accepted)] == ["127.0.0.1"]
        for message in (item.message, *await server.mail("ben")):
            trace = b"from localhost (authenticated user)\r\n" if hidden else b"from client.test ([127.0.0.1])\r\n"
            assert b"Received: " + trace in message
            assert (b"127.0.0.1" in message, b"client.test" in message) == (not hidden, not hidden)


async def test_where_a_stranger_is_stands_in_his_mail() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        assert (await smtp.command(f"RCPT TO:<{BEN}>")).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command(b"From: x@far.test\r\n\r\nhello\r\n.\r\n")).code == 250
        (message,) = await server.mail("ben")
        assert b"Received: from client.test ([127.0.0.1])\r\n" in message


async def test_a_recipient_that_is_named_twice_gets_one_message() -> None:
    async with SmtpHarness() as server, server.client("submission") as smtp:
        await _login(smtp)
        assert (await smtp.command(f"MAIL FROM:<{ANNA}>")).code == 250
        for recipient in ("x@far.test> NOTIFY=NEVER", "X@far.test>", "x@FAR.test>", f"{BEN}>", f"{BEN}>"):
            assert (await smtp.command(f"RCPT TO:<{recipient}")).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command(f"From: {ANNA}\r\n\r\nhello\r\n.\r\n".encode())).code == 250
        (item,) = server.queue.items
        assert [str(recipient.address) for recipient in item.envelope.recipients] == ["x@far.test", "X@far.test"]
        assert item.envelope.recipients[0].notify == {Notify.NEVER}
        assert len(await server.mail("ben")) == 1


async def test_names_that_lead_to_one_address_are_told_each_and_it_gets_one_message() -> None:
    """RFC 3461 §5.2.7.2: what is asked of each of them stays known."""
    async with SmtpHarness() as server, server.client("submission") as smtp:
        for name in ("a", "b", "c", "d"):
            server.aliases[name] = ["X@far.test"]
        await _login(smtp)
        assert (await smtp.command(f"MAIL FROM:<{ANNA}>")).code == 250
        for given in (
            "x@far.test> NOTIFY=NEVER", f"a@{DOMAIN}> NOTIFY=SUCCESS", f"b@{DOMAIN}>", f"c@{DOMAIN}>",
            f"d@{DOMAIN}> NOTIFY=SUCCESS ORCPT=rfc822;d@first.test",
        ):  # fmt: skip
            assert (await smtp.command(f"RCPT TO:<{given}")).code == 250
        assert (await smtp.command("DATA")).code == 354
        assert (await smtp.command(f"From: {ANNA}\r\n\r\nhello\r\n.\r\n".encode())).code == 250
        (item,) = server.queue.items
        # What is told of b is right for c, too.
        assert [(str(one.address), one.original_recipient) for one in item.envelope.recipients] == [
            ("x@far.test", None), ("x@far.test", f"rfc822;a@{DOMAIN}"), ("x@far.test", f"rfc822;b@{DOMAIN}"),
            ("x@far.test", "rfc822;d@first.test"),
        ]  # fmt: skip


async def test_bare_line_ends_are_made_into_crlf_and_bcc_is_taken_away() -> None:
    async with SmtpHarness() as server, server.client("submission") as smtp:
        await _login(smtp)
        assert (await smtp.command(f"MAIL FROM:<{ANNA}>")).code == 250
        assert (await smtp.command("RCPT TO:<x@far.test>")).code == 250
        assert (await smtp.command("DATA")).code == 354
        message = f"From: {ANNA}\nBCC: a@b.test,\n\tc@d.test\nSubject: x\n\nmix\rof\nall\0\r\n\n.\n..\r\n.\r\n".encode()
        assert (await smtp.command(message)).code == 250
        (item,) = server.queue.items
        assert item.message.endswith(f"From: {ANNA}\r\nSubject: x\r\n\r\nmix\r\nof\r\nall\r\n\r\n.\r\n..\r\n".encode())


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
async def test_the_header_is_completed_whatever_the_pieces(chunk: int) -> None:
    message = f"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nFrom: {ANNA}\r\n\r\nhello\r\n".encode()
    async with SmtpHarness() as server, server.client("submission") as smtp:
        await _login(smtp)
        assert (await smtp.command(f"MAIL FROM:<{ANNA}>")).code == 250
        assert (await smtp.command("RCPT TO:<x@far.test>")).code == 250
        for at in range(0, len(message), chunk):
            piece = message[at : at + chunk]
            assert (await smtp.command(b"BDAT %d\r\n" % len(piece) + piece)).code == 250
        assert (await smtp.command("BDAT 0 LAST")).code == 250
        (item,) = server.queue.items
        assert re.search(
            rb"\r\nMessage-ID: <[0-9a-f]{32}@example.test>\r\n" + re.escape(message) + rb"\Z", item.message
        )


async def test_a_header_that_never_ends() -> None:
    async with SmtpHarness() as server, server.client("submission") as smtp:
        await _login(smtp)
        reply = await smtp.message(ANNA, [BEN], f"From: {ANNA}\r\n".encode() + b"X: y\r\n" * 200_000)
        assert (reply.code, reply.status) == (552, "5.3.4")


async def test_scram_over_smtp() -> None:
    salt, iterations = b"salt" * 4, 4096
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    async with SmtpHarness() as server, server.client("submission") as smtp:
        server.scram[ANNA] = ScramVerifier(
            salt=salt, iterations=iterations, stored_key=stored_key, server_key=server_key
        )
        assert (await smtp.command("EHLO client.test")).code == 250
        bare = f"n={ANNA},r=nonce"
        reply = await smtp.command(f"AUTH SCRAM-SHA-256 {base64.b64encode(f'n,,{bare}'.encode()).decode()}")
        assert reply.code == 334
        first = base64.b64decode(reply.lines[0]).decode()
        final = f"c=biws,{first.split(',')[0]}"
        signed = f"{bare},{first},{final}".encode()
        signature = hmac.digest(stored_key, signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
        reply = await smtp.command(base64.b64encode(f"{final},p={proof}".encode()).decode())
        assert reply.code == 334 and base64.b64decode(reply.lines[0]).startswith(b"v=")
        assert (await smtp.command("")).code == 235


@pytest.mark.parametrize("answer", ["=", "=" + PLAIN, PLAIN[:-1], PLAIN[:-2] + "R=", PLAIN + "=", "not base64", "*"])
async def test_k07_an_answer_is_strict_base64(answer: str) -> None:
    """RFC 4954 §4: `=` stands for nothing in an initial response only; stray bits and padding are errors."""
    async with SmtpHarness() as server, server.client("submission") as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("AUTH PLAIN")).code == 334
        reply = await smtp.command(answer)
        assert reply.code == 501, reply
        assert ("base64" in reply.text) == (answer != "*")
        assert (await smtp.command(f"AUTH PLAIN {PLAIN}")).code == 235


async def test_a_session_ends_when_the_credentials_change() -> None:
    async with SmtpHarness() as server, server.client("submission") as smtp:
        await _login(smtp)
        server.login.credentials_changed(ANNA)  # type: ignore[arg-type]
        reply = await smtp.reply()
        assert (reply.code, reply.text) == (421, "4.7.0 The account's credentials changed")
        await server.settled()
        assert server.login.sessions(ANNA) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "begins", "ends"),
    [
        (b"Date: x\r\nMessage-ID: <a@b>\r\nFrom: a@b.test\r\n\r\n", b"Date: x", b"a@b.test\r\n\r\n"),
        (b"\r\n", b"Date: ", b"From: anna@example.test\r\n\r\n"),
        (b"", b"Date: ", b"From: anna@example.test\r\n"),
        (b"just text\r\n\r\n", b"Date: ", b"From: anna@example.test\r\n\r\njust text\r\n\r\n"),
        (b"Bcc: a@b.test\r\nFrom: a@b.test\r\n", b"Date: ", b"\r\nFrom: a@b.test\r\n"),
        (b"From: a@b.test\r\nResent-Bcc: a@b.test\r\n c@d.test\r\n\r\n", b"Date: ", b"\r\nFrom: a@b.test\r\n\r\n"),
    ],
)
def test_completion(header: bytes, begins: bytes, ends: bytes) -> None:
    edited = HeaderCompletion("mail.example.test", EmailAddress("anna", "example.test"), 1_800_000_000.0).edit(header)
    assert edited.startswith(begins) and edited.endswith(ends)
    assert b"bcc:" not in edited.lower()


def test_who_wrote_it() -> None:
    found = visible_senders(b'From: "A, B" <"a b"@x.test>, c@y.test\r\nSender: d@z.test\r\n\r\nFrom: e@no.test\r\n')
    assert [str(address) for address in found.addresses] == ['"a b"@x.test', "c@y.test", "d@z.test"]
    assert found.from_fields == 1 and not found.unreadable


@pytest.mark.parametrize(
    "header",
    [
        b"From: a@x.test\r\nSender: b@x.test\r\nSender: c@x.test\r\n", b"From: a@x.test\r\nfrom : b@x.test\r\n",
        b"X: y\r\n" * 20_000 + b"From: a@x.test\r\n", b"Sender: " + b"a b " * 1000 + b"\r\nFrom: a@x.test\r\n",
    ],
)  # fmt: skip
def test_who_wrote_it_must_be_plain(header: bytes) -> None:
    """More fields than may be, and one that stands behind more fields than anybody looks at."""
    assert visible_senders(header + b"\r\n").unreadable
