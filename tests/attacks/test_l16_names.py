"""ATTACKS L16: a display name that holds an address, homographs, RLO: told to whoever gets the mail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.imap import Imap
from tests.helpers.smtp import Smtp
from tests.helpers.waiting import until

ANNA = f"anna@{DOMAIN}"
PHISH = """From: "security@bank.test" <x@evil.test>
Reply-To: bank.security@gmail.com
Subject: =?utf-8?q?Your_acc=E2=80=8Bount?=
Message-ID: <phish@evil.test>
Content-Type: text/html; charset=utf-8

<p>Please <a href="https://evil.test/login">https://bank.test/login</a> now,
or <a href="https://bank.test@evil.test/">here</a>.</p>
"""
HONEST = """From: Bob <bob@far.test>
Subject: Lunch?
Message-ID: <lunch@far.test>

At noon.
"""


@pytest.fixture
def daemon(make_daemon: DaemonMaker) -> Iterator[Daemon]:
    """With every check as it is by default, and a DNS of its own."""
    with DnsServer() as dns:
        dns.add("far.test", "TXT", '"v=spf1 ip4:127.0.0.1 -all"')
        dns.add("1.0.0.127.in-addr.arpa", "PTR", "mx.far.test.")
        dns.add("mx.far.test", "A", "127.0.0.1")
        settings = {"limits": "trusted = []", "dns": f'servers = ["{dns.endpoint}"]'}
        with make_daemon(settings=settings) as running:
            yield running


def send(daemon: Daemon, sender: str, message: str) -> int:
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo("mx.far.test")
        return smtp.message(sender, [ANNA], message.replace("\n", "\r\n").encode()).code


def messages(daemon: Daemon, mailbox: str) -> int:
    with Imap(daemon.ports["imap"]) as imap:
        assert imap.command(f"LOGIN {ANNA} {PASSWORD}").status == "OK"
        return int(imap.command(f"EXAMINE {mailbox}").only("EXISTS")[0].split()[1])


def test_l16_phishing_lands_in_junk_and_is_explained(daemon: Daemon) -> None:
    assert send(daemon, "x@evil.test", PHISH) == 250
    until(lambda: messages(daemon, "Junk") == 1)
    told = daemon.command("why", "phish@evil.test")
    for words in (
        "delivered into the mailbox Junk", "The sender's name shows security@bank.test, but it is from x@evil.test",
        "A link that shows bank.test leads to evil.test", "Do not follow links", "[phishing]",
        "Answers do not go to evil.test, but to a private address: bank.security@gmail.com",
        "The subject has characters that nobody sees", "A link begins with bank.test, and leads to evil.test",
        "You have never had mail from x@evil.test, and nothing proves that this is [reputation]",
        "move it out of Junk",
    ):  # fmt: skip
        assert words in told, (words, told)


def test_l16_an_honest_stranger_is_delivered(daemon: Daemon) -> None:
    assert send(daemon, "bob@far.test", HONEST) == 250
    until(lambda: (messages(daemon, "INBOX"), messages(daemon, "Junk")) == (1, 0))
    told = daemon.command("why", "lunch@far.test")
    assert "Nobody here has ever had mail from far.test" in told and "pass (smtp.mailfrom=bob@far.test)" in told
