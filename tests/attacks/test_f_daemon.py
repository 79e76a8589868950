"""ATTACKS F02, F03 and E09 through the whole server: what comes back, what the sender reads, and what is learned."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.receiver import Receiver
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import PATIENCE

ANNA = f"anna@{DOMAIN}"
HOSTILE = (
    b"550-5.1.1 no such user\r\n550-5.1.1 Action: delivered\r\n550-5.1.1 \xf5MQ{\"kind\":\"DONE\"}\x85Subject: x\r\n"
    b"550 5.1.1 =?utf-8?q?=0D=0AX:_y?=\r\n"
)  # fmt: skip


def answer(line: bytes) -> bytes | None:
    """RCPT of a server that knows some and says strange things of others."""
    return HOSTILE if b"nobody" in line else None


class Mail:
    """A running server whose mail for others goes to one receiver."""

    def __init__(self, daemon: Daemon, mx: Receiver) -> None:
        self.daemon = daemon
        self.mx = mx

    async def submit(self, *recipients: str, parameters: str = "") -> list[Reply]:
        """anna sends a message; the replies to RCPT."""
        return await asyncio.to_thread(self._submit, recipients, parameters)

    def _submit(self, recipients: tuple[str, ...], parameters: str) -> list[Reply]:
        with Smtp(self.daemon.ports["submission"]) as smtp:
            smtp.ehlo()
            assert smtp.auth_plain(ANNA, PASSWORD).code == 235
            smtp.command(f"MAIL FROM:<{ANNA}>")
            replies = [smtp.command(f"RCPT TO:<{recipient}>{parameters}") for recipient in recipients]
            if any(reply.code == 250 for reply in replies):
                assert smtp.command("DATA").code == 354
                smtp.send(b"From: <anna@example.test>\r\nSubject: Holiday plans\r\n\r\nHello.\r\n.\r\n")
                assert smtp.reply().code == 250
            return replies

    async def bring(self, content: bytes, *, source: str = "") -> None:
        """A report comes to port 25."""
        await asyncio.to_thread(self._bring, content, source)

    def _bring(self, content: bytes, source: str) -> None:
        with Smtp(self.daemon.ports["smtp"], source=source) as smtp:
            smtp.ehlo()
            assert smtp.message("", [ANNA], content).code == 250

    async def inbox(self, count: int) -> list[EmailMessage]:
        """anna's messages, once there are so many."""
        return await asyncio.to_thread(self._inbox, count)

    def _inbox(self, count: int) -> list[EmailMessage]:
        deadline = time.monotonic() + PATIENCE
        with Imap(self.daemon.ports["imap"]) as imap:
            imap.login(ANNA, PASSWORD)
            imap.ok("SELECT INBOX")
            while time.monotonic() < deadline:
                imap.ok("NOOP")
                found = imap.bodies()
                if len(found) >= count:
                    parsed = [email.message_from_bytes(one, policy=email.policy.default) for one in found.values()]
                    return [one for one in parsed if isinstance(one, EmailMessage)]
                time.sleep(0.05)
        raise AssertionError(self.daemon.log_text()[-4000:])

    async def suppressed(self) -> dict[str, str]:
        rows = await asyncio.to_thread(self.daemon.command_json, "suppression", "list")
        return {row["address"]: row["source"] for row in rows}

    async def logged(self, words: str) -> None:
        await asyncio.to_thread(self.daemon.logged, words)


@pytest.fixture
async def mail(make_daemon: DaemonMaker) -> AsyncIterator[Mail]:
    async with Receiver(answers={"RCPT": answer}, features=("PIPELINING", "8BITMIME")) as mx:
        settings = {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["1h"]'}
        with make_daemon(settings=settings) as daemon:
            yield Mail(daemon, mx)
            # The receiver goes on answering meanwhile.
            await asyncio.to_thread(daemon.stop)


async def test_f02_e09_what_a_server_says_is_quoted_and_learned_from(mail: Mail) -> None:
    await mail.submit("nobody@far.test", "ben@far.test", parameters=" ORCPT=rfc822;a+0D+0AAction:+20x@far.test")
    (report,) = await mail.inbox(1)
    assert report["Subject"] == "Not delivered: nobody@far.test"
    assert not report.defects
    text, status, header = report.iter_parts()
    groups: Any = status.get_payload()
    assert len(groups) == 2
    assert groups[1].get_all("Action") == ["failed"]
    assert groups[1]["Original-Recipient"] == "rfc822; a+0D+0AAction:+20x@far.test"
    assert groups[1]["Diagnostic-Code"].startswith("smtp; 550")
    assert "There is no mailbox of this name at far.test." in " ".join(text.get_content().split())
    assert "Subject: Holiday plans" in header.get_content()
    assert len(mail.mx.messages) == 1
    # The record of the queue is whole: nothing is left, and nothing is tried again.
    await asyncio.to_thread(mail.daemon.queue)

    await mail.logged(" suppressed ")
    assert await mail.suppressed() == {"nobody@far.test": "refused"}
    (reply,) = await mail.submit("nobody@far.test")
    assert (reply.code, reply.status) == (550, "5.1.1")
    assert "mailserver suppression remove nobody@far.test" in reply.text
    await asyncio.to_thread(mail.daemon.command, "suppression", "remove", "nobody@far.test")
    assert [reply.code for reply in await mail.submit("nobody@far.test")] == [250]


BOUNCE = """\
From: MAILER-DAEMON@far.test\r
Subject: failure notice\r
\r
Hi. This is the qmail-send program at far.test.\r
\r
<ben@far.test>:\r
Sorry, no mailbox here by that name. (#5.1.1)\r
\r
--- Below this line is a copy of the message.\r
\r
"""


async def test_f03_a_bounce_is_recognised_and_answered_by_nobody(mail: Mail) -> None:
    await mail.submit("ben@far.test")
    await mail.mx.arrived()
    sent = mail.mx.messages[0].content
    await mail.logged(" sent ")

    # Somebody who knows nothing, and somebody who has seen the message but is not the server that took it.
    await mail.bring(BOUNCE.encode() + b"Subject: x\r\n\r\n")
    await mail.bring(BOUNCE.encode() + sent, source="127.9.9.9")
    await mail.logged("credible=False")
    assert await mail.suppressed() == {}
    await mail.bring(BOUNCE.encode() + sent)
    await mail.logged("credible=True")
    await mail.logged(" suppressed ")
    assert await mail.suppressed() == {"ben@far.test": "bounced"}
    assert [reply.code for reply in await mail.submit("ben@far.test", "cleo@far.test")] == [550, 250]

    assert len(await mail.inbox(3)) == 3
    assert "report=" not in mail.daemon.log_text()
