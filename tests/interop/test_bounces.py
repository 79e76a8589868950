"""Bounces as other people's servers write them, and ours as other people's programs read them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.mime.dsn import read_report
from mailserver.wire.refusal import Cause, cause_of
from tests.helpers.daemon import DOMAIN
from tests.helpers.receiver import Receiver
from tests.helpers.smtp import Smtp
from tests.interop.peers import Exim, Postfix, needs_peers

pytestmark = pytest.mark.interop
ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
SENT = b"X-Sent-Token: 1.mark\r\nFrom: <ben@example.test>\r\nSubject: Holiday plans\r\n\r\nHello.\r\n"


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that other users may enter."""
    made = Path(tempfile.mkdtemp(prefix="mailserver-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def refuse_anna(line: bytes) -> bytes | None:
    return b"550 5.1.1 <anna@example.test>: Recipient address rejected: User unknown\r\n" if b"anna" in line else None


def submit(port: int, parameters: str) -> None:
    with Smtp(port) as smtp:
        smtp.ehlo()
        assert smtp.command(f"MAIL FROM:<{BEN}> ENVID=QQ314159{parameters}").code == 250
        assert smtp.command(f"RCPT TO:<{ANNA}> ORCPT=rfc822;a.b@{DOMAIN}").code == 250
        assert smtp.command("DATA").code == 354
        smtp.send(SENT + b".\r\n")
        assert smtp.reply().code == 250


@needs_peers
@pytest.mark.parametrize("parameters", ["", " RET=FULL", " RET=HDRS"])
@pytest.mark.parametrize("kind", [Postfix, Exim])
async def test_a_bounce_is_read(directory: Path, kind: type[Postfix] | type[Exim], parameters: str) -> None:
    async with Receiver(answers={"RCPT": refuse_anna}) as receiver:
        with kind(directory / "peer", passes_on_to=receiver.port) as peer:
            await asyncio.to_thread(submit, peer.port, parameters)
            await receiver.arrived()
    (bounce,) = receiver.messages
    assert bounce.mail.startswith("FROM:<>")
    report = read_report(bounce.content)
    assert report is not None
    assert (report.envelope_id, report.reporter) == ("QQ314159", "peer.example.test")
    assert b"X-Sent-Token: 1.mark\r\n" in report.header
    assert b"Hello." not in report.header
    (one,) = report.recipients
    assert (one.final, one.action, one.status) == (ANNA, "failed", "5.1.1")
    assert one.original == (f"a.b@{DOMAIN}" if kind is Postfix else "")
    assert cause_of(one.status, 550, one.diagnostic) is Cause.UNKNOWN_USER
