"""Mail that we send, taken by other people's servers: Postfix, Exim, OpenSMTPD, aiosmtpd."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from mailserver.hooks.dispatch import Hooks
from mailserver.model.delivery import Outcome
from tests.helpers.aiosmtpd_server import aiosmtpd_here
from tests.helpers.authority import issue
from tests.helpers.daemon import DOMAIN
from tests.helpers.mail import awkward
from tests.helpers.receiver import Receiver
from tests.helpers.sending import MESSAGE, job, make_sender
from tests.interop.peers import Exim, OpenSmtpd, Peer, Postfix, needs_peers

pytestmark = pytest.mark.interop
ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
LARGE = b"Subject: large\r\n\r\n" + b"." * 70 + b"\r\n" + b"a line of text\r\n.\r\n..\r\n" * 100_000
EIGHT_BIT = "Subject: 8-bit\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode()


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """One that other users may enter: these servers are not root for long."""
    made = Path(tempfile.mkdtemp(prefix="mailserver-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module", params=[Postfix, Exim, OpenSmtpd])
def peer(request: pytest.FixtureRequest, directory: Path) -> Iterator[Peer]:
    with request.param(directory / request.param.__name__) as running:
        yield running


@pytest.fixture
def with_tls(directory: Path) -> Iterator[Postfix]:
    issue("peer.example.test").server_context(directory)
    (pem,) = directory.glob("*.pem")
    with Postfix(directory / "tls", certificate=pem) as running:
        yield running


@needs_peers
@pytest.mark.parametrize("content", [MESSAGE, LARGE, EIGHT_BIT], ids=["small", "large", "8-bit"])
async def test_a_message_is_taken(peer: Peer, content: bytes) -> None:
    async with make_sender(Hooks()) as made:
        report = await made.deliver(job(peer.port, content=content, to=[ANNA, BEN]))
    assert [result.outcome for result in report.results] == [Outcome.DELIVERED] * 2, report
    assert report.results[0].reply.startswith("250 ")


@needs_peers
async def test_one_is_unknown_and_one_is_not(peer: Peer) -> None:
    async with make_sender(Hooks()) as made:
        report = await made.deliver(job(peer.port, to=[f"nobody@{DOMAIN}", ANNA], sender=""))
        assert [result.outcome for result in report.results] == [Outcome.FAILED, Outcome.DELIVERED], report
        assert report.results[0].code == 550
        report = await made.deliver(job(peer.port, to=[f"nobody@{DOMAIN}", f"none@{DOMAIN}"]))
        assert [result.outcome for result in report.results] == [Outcome.FAILED] * 2, report
        report = await made.deliver(job(peer.port, to=["x@elsewhere.test"]))
        assert report.results[0].outcome is not Outcome.DELIVERED
        report = await made.deliver(job(peer.port, to=[ANNA]))
        assert report.results[0].outcome is Outcome.DELIVERED, "the connection is in order after all that"


@needs_peers
async def test_many_messages_over_few_connections(peer: Peer) -> None:
    async with make_sender(Hooks()) as made:
        for _ in range(3):
            reports = await asyncio.gather(*(made.deliver(job(peer.port, to=[ANNA])) for _ in range(8)))
            assert all(report.results[0].outcome is Outcome.DELIVERED for report in reports), reports


@needs_peers
async def test_octets_are_the_same_behind_postfix(directory: Path) -> None:
    """It passes on what it got; below its Received field nothing has changed, where it leaves messages alone."""
    trace = b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <one@example.test>\r\n"
    messages = [trace + MESSAGE, trace + b"From: anna@example.test\r\n" + EIGHT_BIT]
    messages += [message for message in awkward()[:20] if message.endswith(b"\r\n") and b"\0" not in message]
    messages = [message for message in messages if max(map(len, message.split(b"\r\n"))) < 990]
    assert len(messages) > 8
    async with Receiver(features=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 50000000")) as mx:
        with Postfix(directory / "passes-on", passes_on_to=mx.port) as postfix:
            async with make_sender(Hooks()) as made:
                for number, message in enumerate(messages):
                    content = b"X-Number: %d\r\n" % number + message
                    report = await made.deliver(job(postfix.port, content=content, to=[ANNA]))
                    assert report.results[0].outcome is Outcome.DELIVERED, report
            await mx.arrived(len(messages))
    got = {message.content[message.content.index(b"X-Number:") :] for message in mx.messages}
    assert got == {b"X-Number: %d\r\n" % number + message for number, message in enumerate(messages)}


@needs_peers
async def test_starttls_with_postfix(with_tls: Postfix) -> None:
    async with make_sender(Hooks()) as made:
        for _ in range(2):
            report = await made.deliver(job(with_tls.port, to=[ANNA]))
            assert report.results[0].outcome is Outcome.DELIVERED, report
            assert report.results[0].tls.startswith("TLSv1.3")


class Keeping:
    """A handler of aiosmtpd."""

    def __init__(self) -> None:
        self.got: list[tuple[str | None, list[str], bytes]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.got.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        return "250 2.0.0 Kept"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 Nobody"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"


@pytest.fixture
async def aiosmtpd() -> AsyncIterator[tuple[int, Keeping]]:
    handler = Keeping()
    async with aiosmtpd_here(handler, enable_SMTPUTF8=True) as port:
        yield port, handler


async def test_aiosmtpd(aiosmtpd: tuple[int, Keeping]) -> None:
    port, handler = aiosmtpd
    async with make_sender(Hooks()) as made:
        for content in (MESSAGE, EIGHT_BIT, LARGE[:1_000_000] + b"\r\n"):
            report = await made.deliver(job(port, content=content, to=[ANNA, f"nobody@{DOMAIN}", "bért@far.test"]))
            outcomes = [result.outcome for result in report.results]
            assert outcomes == [Outcome.DELIVERED, Outcome.FAILED, Outcome.DELIVERED], report
            assert handler.got[-1] == ("anna@example.test", [ANNA, "bért@far.test"], content)
