"""ATTACKS F06: two users who are away do not answer each other for ever, and programs are not answered at all."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.helpers.circles import OURS, World, emptied
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.smtp import Smtp
from tests.helpers.waiting import until

ANNA, BEN = "anna@one.test", "ben@two.test"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with DnsServer() as dns:
        dns.add("one.test", "TXT", f"v=spf1 ip4:{OURS} -all")
        dns.add("two.test", "TXT", f"v=spf1 ip4:{OURS} -all")
        yield World(tmp_path, dns)


def mail_of(daemon: Daemon, domain: str, name: str) -> list[EmailMessage]:
    folder = daemon.data / domain / name / "new"
    found = [path.read_bytes() for path in sorted(folder.iterdir())] if folder.exists() else []
    parsed = [email.message_from_bytes(one, policy=email.policy.default) for one in found]
    return [one for one in parsed if isinstance(one, EmailMessage)]


def submit(daemon: Daemon, header: str) -> None:
    with Smtp(daemon.ports["submission"]) as smtp:
        smtp.ehlo()
        assert smtp.auth_plain(ANNA, PASSWORD).code == 235
        message = f"From: <{ANNA}>\r\nTo: <{BEN}>\r\n{header}\r\nHello.\r\n".encode()
        assert smtp.message(ANNA, [BEN], message).code == 250


async def accepted(daemon: Daemon, count: int) -> None:
    await asyncio.to_thread(until, lambda: daemon.log_text().count(" accepted ") >= count)


async def run(world: World, *headers: str, answered: bool) -> tuple[list[EmailMessage], list[EmailMessage]]:
    """anna writes to ben with these headers, one message after the other; the mail of both in the end."""
    with world.server("one.test") as one, world.server("two.test") as two:
        for daemon, account in ((one, ANNA), (two, BEN)):
            await asyncio.to_thread(daemon.add_account, account)
            await asyncio.to_thread(daemon.command, "vacation", "set", account, stdin=f"{account} is away.\n")
        for header in headers:
            await asyncio.to_thread(submit, one, header)
        await accepted(two, len(headers))
        if answered:
            # Mail does not wait for its answer, which is in no queue until it is written.
            await asyncio.to_thread(two.logged, "vacation.answered")
        await emptied(one, two)
        return mail_of(one, "one.test", "anna"), mail_of(two, "two.test", "ben")


async def test_f06_two_who_are_away(world: World) -> None:
    annas, bens = await run(world, "Message-ID: <1@one.test>\r\nSubject: hello\r\n",
                            "Message-ID: <2@one.test>\r\nSubject: again\r\n", answered=True)  # fmt: skip
    (answer,) = annas
    # Whichever came first.
    assert (answer["Subject"], answer["In-Reply-To"]) in (
        ("Auto: hello", "<1@one.test>"), ("Auto: again", "<2@one.test>"),
    )  # fmt: skip
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["Return-Path"] == "<>"
    assert answer.get_content().strip() == f"{BEN} is away."
    # Both messages came, and nothing was sent to answer the answer.
    assert sorted(one["Subject"] for one in bens) == ["again", "hello"]


async def test_f06_lists_and_programs_have_no_answer(world: World) -> None:
    annas, bens = await run(
        world, "List-Id: <x.one.test>\r\n", "Auto-Submitted: auto-generated\r\n", "Precedence: bulk\r\n",
        "X-Auto-Response-Suppress: All\r\n", "Subject: Auto: x\r\n", answered=False,
    )  # fmt: skip
    assert annas == []
    assert len(bens) == 5


async def test_f06_one_answer_whatever_happens(world: World) -> None:
    """A server that is killed as soon as it has taken a message, and started again, writes no second answer."""
    with world.server("one.test") as one, world.server("two.test") as two:
        for daemon, account in ((one, ANNA), (two, BEN)):
            await asyncio.to_thread(daemon.add_account, account)
        await asyncio.to_thread(two.command, "vacation", "set", BEN, "--text", "away", "--days", "3")
        assert "once in 3 days" in await asyncio.to_thread(two.command, "vacation", "show", BEN)
        for number in range(3):
            await asyncio.to_thread(submit, one, "Subject: hello\r\n")
            await accepted(two, number + 1)
            await asyncio.to_thread(two.kill9)
            await asyncio.to_thread(two.start)
        assert two.log_text().count("vacation.answered") <= 1
        assert len(mail_of(two, "two.test", "ben")) == 3
        assert "answered no more" in await asyncio.to_thread(two.command, "vacation", "off", BEN)
        assert "answers nobody" in await asyncio.to_thread(two.command, "vacation", "show", BEN)
