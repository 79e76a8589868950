"""The server is killed at random moments under load, and keeps every promise (ATTACKS §3, R1).

Deliveries to several recipients, submissions for other servers, flag changes, moves and expunges run while the process
is killed. After each start: what was answered with 250 or OK is so; what was not answered is so or not, but never half;
no message is there twice; a UID that was seen names the same message for ever, and new UIDs are above all seen before.

The moment of the kill is a random number of answers, not a time, so that a slow machine tests the same.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import re
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.imap import AsyncImap, Imap
from tests.helpers.imap import Closed as ImapClosed
from tests.helpers.smtp import AsyncSmtp
from tests.helpers.smtp import Closed as SmtpClosed

ACCOUNTS = tuple(f"{name}@{DOMAIN}" for name in ("anna", "ben", "cleo"))
LOST = (OSError, SmtpClosed, ImapClosed, asyncio.IncompleteReadError)
_LINE = b"0123456789abcdef\r\n"


@dataclass
class Box:
    """What is known of one account's INBOX. Message-IDs stand for messages."""

    uid_validity: str | None = None
    highest: int = 0
    seen: dict[int, str] = field(default_factory=dict)
    promised: set[str] = field(default_factory=set)
    flagged: set[int] = field(default_factory=set)
    #: UIDs that were moved or expunged, or may have been: True when it was answered.
    gone: dict[int, bool] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    expunged: set[str] = field(default_factory=set)


@dataclass
class Load:
    """The clients of one run, and all that they were promised in all runs."""

    daemon: Daemon
    rng: random.Random
    boxes: dict[str, Box] = field(default_factory=lambda: {account: Box() for account in ACCOUNTS})
    queued: set[str] = field(default_factory=set)
    number: int = 0
    answers: int = 0
    until: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    refused: list[str] = field(default_factory=list)

    def message(self, sender: str) -> tuple[str, bytes]:
        self.number += 1
        name = f"<{self.number}@load.test>"
        head = f"From: <{sender}>\r\nSubject: load\r\nMessage-ID: {name}\r\n\r\n".encode()
        return name, head + _LINE * self.rng.randrange(100)

    def answered(self) -> None:
        self.answers += 1
        if self.answers >= self.until:
            self.enough.set()

    async def deliver(self) -> None:
        async with AsyncSmtp(self.daemon.ports["smtp"]) as smtp:
            await smtp.command("EHLO load.test")
            while True:
                recipients = self.rng.sample(ACCOUNTS, self.rng.randint(1, 3))
                name, message = self.message("s@sender.test")
                reply = await smtp.message("s@sender.test", recipients, message)
                if reply.code == 250:
                    for recipient in recipients:
                        self.boxes[recipient].promised.add(name)
                else:
                    self.refused.append(str(reply))
                self.answered()

    async def submit(self) -> None:
        async with AsyncSmtp(self.daemon.ports["submission"]) as smtp:
            await smtp.command("EHLO load.test")
            plain = f"\0{ACCOUNTS[1]}\0{PASSWORD}".encode()
            reply = await smtp.command(b"AUTH PLAIN " + base64.b64encode(plain) + b"\r\n")
            while reply.code in (235, 250):
                # The recipient's name marks the item in the queue.
                self.number += 1
                recipient = f"r{self.number}@elsewhere.test"
                reply = await smtp.message(ACCOUNTS[1], [recipient, ACCOUNTS[2]], self.message(ACCOUNTS[1])[1])
                if reply.code == 250:
                    self.queued.add(recipient)
                self.answered()
            self.refused.append(str(reply))

    async def change(self) -> None:
        """One mail program that flags, moves and expunges what it knows of."""
        box = self.boxes[ACCOUNTS[0]]
        async with AsyncImap(self.daemon.ports["imap"]) as imap:
            await imap.ok(f'LOGIN "{ACCOUNTS[0]}" "{PASSWORD}"')
            await imap.ok("SELECT INBOX")
            while here := [uid for uid in box.seen if uid not in box.gone]:
                uid = self.rng.choice(here)
                what = self.rng.randrange(4)
                if what < 2:
                    await imap.ok(f"UID STORE {uid} +FLAGS.SILENT (\\Flagged)")
                    box.flagged.add(uid)
                elif what == 2:
                    box.gone[uid] = False
                    await imap.ok(f"UID MOVE {uid} Archive")
                    box.gone[uid] = True
                    box.moved.add(box.seen[uid])
                else:
                    box.gone[uid] = False
                    await imap.ok(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
                    await imap.ok(f"UID EXPUNGE {uid}")
                    box.gone[uid] = True
                    box.expunged.add(box.seen[uid])
                self.answered()

    async def run_and_kill(self, after: int) -> None:
        """Run all clients, kill the server after so many answers."""
        self.until, self.enough = self.answers + after, asyncio.Event()
        clients = [self.deliver, self.deliver, self.deliver, self.submit, self.change]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(_while_alive(client))
            async with asyncio.timeout(60):
                await self.enough.wait()
            # Whoever waits for an answer now sees the connection end.
            self.daemon.kill9()

    def check(self) -> None:
        """Ask the server what it has, and compare."""
        for account, box in self.boxes.items():
            with Imap(self.daemon.ports["imap"]) as imap:
                imap.login(account, PASSWORD)
                check_box(imap, box)

    def check_queue(self) -> None:
        """Every submission for elsewhere that was promised waits."""
        waiting = {name for item in self.daemon.command_json("queue", "list") for name in item["recipients"]}
        assert self.queued <= waiting, f"lost from the queue: {sorted(self.queued - waiting)[:5]}"


def message_ids(imap: Imap, uids: set[int]) -> dict[int, str]:
    """The Message-ID of each."""
    found = {}
    if uids:
        wanted = f"{min(uids)}:{max(uids)}"
        for line in imap.ok(f"UID FETCH {wanted} (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])").only("FETCH"):
            uid, name = re.search(rb"UID ([0-9]+)", line), re.search(rb"(?i)message-id: (\S+)", line)
            assert uid is not None and name is not None, line
            found[int(uid[1])] = name[1].decode()
    return {uid: name for uid, name in found.items() if uid in uids}


def check_box(imap: Imap, box: Box) -> None:
    response = imap.ok("SELECT INBOX")
    box.uid_validity = box.uid_validity or response.code("UIDVALIDITY")
    assert response.code("UIDVALIDITY") == box.uid_validity
    here = set(imap.uids())
    assert int(response.code("UIDNEXT") or 0) > max(here, default=0)
    fresh = here - box.seen.keys()
    assert not fresh or min(fresh) > box.highest, "a UID below one that was seen before"
    box.seen |= message_ids(imap, fresh)
    box.highest = max(box.seen, default=0)
    lost = {uid for uid in box.seen if uid not in here and uid not in box.gone}
    assert not lost, f"lost: {sorted(lost)[:5]}"
    back = {uid for uid, answered in box.gone.items() if answered and uid in here}
    assert not back, f"removed, and here again: {sorted(back)[:5]}"
    flagged = set(imap.uids("FLAGGED"))
    assert box.flagged & here <= flagged, f"flags lost: {sorted(box.flagged & here - flagged)[:5]}"
    names = [box.seen[uid] for uid in here]
    assert len(names) == len(set(names)), "one message is there twice"
    imap.ok("SELECT Archive")
    archived = set(message_ids(imap, set(imap.uids())).values())
    assert box.moved <= archived
    unsure = {box.seen[uid] for uid, answered in box.gone.items() if not answered}
    assert box.promised <= set(names) | archived | box.expunged | unsure, "a promised message is missing"
    for uid in [uid for uid, answered in box.gone.items() if not answered and uid in here]:
        del box.gone[uid]


async def _while_alive(client: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with contextlib.suppress(*LOST):
        await client()


def kill_often(daemon: Daemon, kills: int, seed: int) -> str:
    load = Load(daemon, random.Random(seed))
    for kill in range(kills):
        asyncio.run(load.run_and_kill(load.rng.randint(1, 60)))
        daemon.start()
        load.check()
        if kill % 10 == 0:
            load.check_queue()
    load.check_queue()
    assert not load.refused, load.refused[:5]
    for account in ACCOUNTS:
        daemon.command("mailbox", "verify", account)
    promised = sum(len(box.promised) for box in load.boxes.values()) + len(load.queued)
    return f"{kills} kills, {load.answers} answers, {promised} promised messages, 0 lost"


@pytest.mark.timeout(400)
def test_25_random_kills_under_load(make_daemon: Any) -> None:
    with make_daemon() as daemon:
        kill_often(daemon, 25, seed=2)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_500_random_kills_under_load(make_daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with make_daemon() as daemon:
        figure = kill_often(daemon, 500, seed=3)
    with capsys.disabled():
        sys.stdout.write(f"\n{figure}\n")
