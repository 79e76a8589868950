"""What was found out about a message is with it when the queue brings it, also after a kill and a start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import ANNA, PROXY, deliver
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.dns import DnsServer

BEN = f"ben@{DOMAIN}"


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("_dmarc.bank.test", "TXT", '"v=DMARC1; p=quarantine"')
        server.add("far.test", "TXT", '"v=spf1 ip4:192.0.2.66 -all"')
        server.fail("far.test", "MX")
        yield server


@pytest.fixture
def daemon(make_daemon: DaemonMaker, names: DnsServer) -> Iterator[Daemon]:
    settings = {
        "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]', "plugins.greylist": "enabled = false",
        "queue": 'retry = ["1h"]',
    }  # fmt: skip
    with make_daemon(settings=settings) as running:
        yield running


def mail(author: str, message_id: str) -> bytes:
    header = f"From: {author}\r\nTo: {BEN}\r\nSubject: x\r\nDate: y\r\nMessage-ID: {message_id}\r\n\r\n"
    return header.encode() + b"hello\r\n" * 600


def waiting(daemon: Daemon) -> list[Any]:
    return list(daemon.command_json("queue", "list"))


def found(folder: Path, count: int) -> list[bytes]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        files = list((folder / "new").glob("*")) + list((folder / "cur").glob("*"))
        if len(files) >= count:
            return [file.read_bytes() for file in files]
        time.sleep(0.05)
    raise AssertionError(f"not {count} messages in {folder}")


def test_what_waits_for_a_mailbox_was_judged(daemon: Daemon) -> None:
    daemon.command("vacation", "set", BEN, stdin="Ben is away.\n")
    home = daemon.data / DOMAIN / "ben"
    # It is empty, and yet too small.
    daemon.command("account", "quota", BEN, "--octets", "3000")
    for author, sender, message_id in (
        ("a@bank.test", "any@attack.test", "<1@bank.test>"), ("b@far.test", "b@far.test", "<2@far.test>"),
    ):  # fmt: skip
        reply = deliver(daemon, mail(author, message_id), sender=sender, recipient=ANNA, also=[BEN])
        assert reply.code == 250, reply
    assert len(waiting(daemon)) == 2
    daemon.kill9()
    daemon.start()
    assert len(waiting(daemon)) == 2
    daemon.command("account", "quota", BEN, "--octets", "100000")
    daemon.command("queue", "retry", "--all")
    (junk,) = found(home / ".Junk", 1)
    assert b"<1@bank.test>" in junk and b"dmarc=fail" in junk
    (good,) = found(home, 1)
    assert b"<2@far.test>" in good and b"spf=pass" in good
    told = daemon.command("why", "<1@bank.test>")
    assert f"{BEN}: delivered into the mailbox Junk\n" in told and "which wants such mail to go to Junk" in told, told
    # The answer of one who is away, to the sender who is proved.
    deadline = time.monotonic() + 20
    while not (left := waiting(daemon)) and time.monotonic() < deadline:
        time.sleep(0.05)
    (answer,) = left
    assert (answer["sender"], answer["recipients"]) == ("", ["b@far.test"])
