"""ATTACKS G09 to G12 through the whole server: submitted mail, DNS as it may be, and what the sender gets to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.imap import Imap
from tests.helpers.receiver import Receiver
from tests.helpers.submitting import ANNA, submit
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@contextmanager
def sending(make: DaemonMaker, dns: DnsServer, port: int, *, allow_private: bool) -> Iterator[Daemon]:
    settings = {
        "dns": f'servers = ["{dns.endpoint}"]',
        "queue": f'port = {port}\nallow_private_addresses = {str(allow_private).lower()}\nretry = ["1h"]',
    }
    with make(settings=settings) as daemon:
        yield daemon


def report(daemon: Daemon) -> bytes:
    """The message in anna's INBOX, once it is there."""
    deadline = time.monotonic() + PATIENCE
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        imap.ok("SELECT INBOX")
        while time.monotonic() < deadline:
            imap.ok("NOOP")
            if found := imap.bodies():
                return found[1]
            time.sleep(0.05)
    raise AssertionError(daemon.log_text()[-4000:])


async def test_g09_mail_finds_its_way_by_dns(make_daemon: DaemonMaker, dns_server: DnsServer) -> None:
    dns_server.add("far.test", "MX", "10 dead.test.", "20 alias.test.", "30 worse.test.")
    dns_server.fail("dead.test")
    dns_server.add("alias.test", "CNAME", "mx.test.")
    dns_server.add("mx.test", "A", "127.0.0.1")
    async with Receiver() as mx:
        with sending(make_daemon, dns_server, mx.port, allow_private=True) as daemon:
            await asyncio.to_thread(submit, daemon, "ben@far.test", "cleo@far.test")
            await mx.arrived()
            # The receiver goes on answering meanwhile.
            await asyncio.to_thread(daemon.stop)
        assert len(mx.messages[0].recipients) == 2
    assert ("worse.test", "A") not in dns_server.queries


#: Domain → what the report says of it.
FINAL = {
    "null.test": ("5.1.10", "accepts no mail"),
    "nowhere.test": ("5.1.2", "does not exist"),
    "private.test": ("5.4.4", "10.0.0.1, a private address"),
    "localhost.test": ("5.4.4", "127.0.0.1, a loopback address"),
    "us.test": ("5.4.6", "is not a domain of ours"),
    "six.test": ("5.4.4", "fd00::1, a private address"),
}
WAITING = ("servfail.test", "refused.test", "loop.test", "half.test")


def test_g09_g10_g11_what_is_final_and_what_is_not(make_daemon: DaemonMaker, dns_server: DnsServer) -> None:
    dns_server.add("null.test", "MX", "0 .")
    dns_server.add("private.test", "MX", "10 inside.test.")
    dns_server.add("inside.test", "A", "10.0.0.1")
    dns_server.add("localhost.test", "MX", "10 localhost.")
    dns_server.add("us.test", "MX", "10 mail.example.test.")
    dns_server.add("six.test", "AAAA", "fd00::1")
    dns_server.fail("servfail.test")
    dns_server.fail("refused.test", rcode="REFUSED")
    dns_server.add("loop.test", "CNAME", "loop.test.")
    dns_server.script("half.test", "MX", lambda asked: [asked.answer("10 mx.test.").to_wire()[:-3]])
    with sending(make_daemon, dns_server, 25, allow_private=False) as daemon:
        submit(daemon, *(f"x@{domain}" for domain in (*FINAL, *WAITING)))
        text = report(daemon).decode()
        about = {part.split("\r\n")[0]: part for part in text.split("\r\nFinal-Recipient: rfc822; ")[1:]}
        assert set(about) == {f"x@{domain}" for domain in FINAL}
        for domain, (status, words) in FINAL.items():
            told = about[f"x@{domain}"]
            assert f"Status: {status}\r\n" in told
            assert words in " ".join(told.split())
        # The report may be there before the others were tried.
        until(lambda: daemon.log_text().count(" deferred ") >= len(WAITING), lambda: daemon.log_text()[-4000:])
        until(lambda: daemon.metric("mailserver_dns_failed") == len(WAITING), "not counted")
        assert daemon.log_text().count(" deferred ") == len(WAITING)
