"""ATTACKS L04: a message that left us, with a field more than it was signed with."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from mailserver.mime.dkim.verifying import Verification
from mailserver.mime.headers import header_block_end
from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.receiver import Receiver
from tests.helpers.smtp import Smtp
from tests.helpers.submitting import ANNA, arrived
from tests.interop.second_opinions import dkimpy

MAIL = (
    f"From: Anna <{ANNA}>\r\nTo: ben@far.test\r\nSubject: Lunch\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    f"Message-ID: <1@{DOMAIN}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nAt noon?\r\n"
).encode()
ADDED = {
    "From": b"From: boss@far.test\r\n",
    "Subject": b"Subject: Pay this bill\r\n",
    "To": b"To: everybody@far.test\r\n",
    "Cc": b"Cc: everybody@far.test\r\n",
    "Date": b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n",
    "Reply-To": b"Reply-To: thief@evil.test\r\n",
    "Content-Type": b"Content-Type: text/html\r\n",
}


def submit(daemon: Daemon) -> None:
    with Smtp(daemon.ports["submission"]) as smtp:
        smtp.ehlo()
        assert smtp.auth_plain(ANNA, PASSWORD).code == 235
        assert smtp.message(ANNA, ["ben@far.test"], MAIL).code == 250


@pytest.fixture
async def sent(make_daemon: DaemonMaker) -> tuple[bytes, dict[str, str]]:
    """A message as the server of another domain got it, and our keys as they stand in DNS."""
    async with Receiver() as mx:
        settings = {
            "smarthosts.nearby": f'host = "127.0.0.1:{mx.port}"\ntls = "none"',
            "queue": "allow_private_addresses = true",
        }
        with make_daemon(settings=settings) as daemon:
            await asyncio.to_thread(submit, daemon)
            await arrived(mx, 1)
            rows = await asyncio.to_thread(daemon.command_json, "domain", "dkim", "list", DOMAIN)
    return mx.messages[0].content, {row["name"]: row["record"] for row in rows}


def judge(message: bytes, records: dict[str, str]) -> list[str]:
    """The result of each signature."""
    verification = Verification(message, time.time())
    digests = verification.check({name: (records[name].encode(),) for name in verification.key_names})
    digests.feed(message[header_block_end(message) :])
    digests.end()
    return [result.result for result in verification.results(digests)]


async def test_l04_nobody_adds_a_field_to_what_we_signed(sent: tuple[bytes, dict[str, str]], tmp_path: Path) -> None:
    message, records = sent
    assert judge(message, records) == ["pass", "pass"]
    changed = [field + message for field in ADDED.values()]
    # Programs differ in which of two fields they show: the first, or the last.
    end = header_block_end(message) - 2
    changed += [message[:end] + field + message[end:] for field in ADDED.values()]
    # Two From fields are an error of the message itself.
    assert {result for each in changed for result in judge(each, records)} == {"fail", "permerror"}
    opinions = dkimpy(tmp_path, records, [message, *changed])
    if opinions is not None:
        # It looks at the first signature.
        assert [good for good, _ in opinions] == [True] + [False] * len(changed)
