"""ATTACKS L10 through the whole server: what cannot be looked up is neither a pass nor skipped; and what claims to be
ours is not sent on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import PROXY, deliver, inbox, results
from tests.helpers.daemon import Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.signing import signer

KEY = signer("ed25519", domain="bank.test")


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("_dmarc.bank.test", "TXT", '"v=DMARC1; p=reject; sp=quarantine; " "np=reject; rua=nonsense"')
        server.add("bank.test", "TXT", '"v=spf1 ip4:192.0.2.1 -all"')
        server.add("shop.bank.test", "A", "192.0.2.1")
        server.deny("compact.bank.test")
        server.deny("between.bank.test", "RRSIG NSEC")
        server.add(KEY.name, "TXT", f'"{KEY.record}"')
        server.add("_dmarc.twice.test", "TXT", '"v=DMARC1; p=reject"', '"v=DMARC1; p=none"')
        server.add("_dmarc.xn--bcher-kva.test", "TXT", '"v=DMARC1; p=reject"')
        server.fail("_dmarc.slow.test")
        server.add("_dmarc.half.test", "TXT", '"v=DMARC1; p=reject"')
        server.fail("half.test")
        yield server


@pytest.fixture
def daemon(make_daemon: DaemonMaker, names: DnsServer) -> Iterator[Daemon]:
    settings = {
        "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]',
        'domains."example.test".aliases': 'team = ["far@elsewhere.test", "anna@example.test"]',
        "plugins.greylist": "enabled = false",
    }  # fmt: skip
    with make_daemon(settings=settings) as running:
        yield running


def mail(author: str) -> bytes:
    return f"From: {author}\r\nTo: anna@example.test\r\nSubject: x\r\nDate: y\r\n\r\nhello\r\n".encode()


def test_l10_policies(daemon: Daemon) -> None:
    for author, code in [
        ("a@bank.test", 550), ("a@none.bank.test", 550), ("a@compact.bank.test", 550),
        ("a@b\u00fccher.test", 550), ("a@xn--bcher-kva.test", 550),
        ("a@slow.test", 451), ("a@sub.slow.test", 451), ("a@twice.test", 250), ("a@shop.bank.test", 250),
    ]:  # fmt: skip
        reply = deliver(daemon, mail(author))
        assert reply.code == code, (author, reply)
    assert "DMARC of bank.test" in str(deliver(daemon, mail("a@bank.test")))
    (two,) = inbox(daemon)
    assert "dmarc=none header.from=twice.test" in results(two), "several records are as good as none"
    assert deliver(daemon, mail("a@between.bank.test")).code == 250
    junk, _ = inbox(daemon, "Junk", count=2)
    assert "dmarc=fail header.from=shop.bank.test policy.dmarc=quarantine" in results(junk)
    told = daemon.command("why", "--json", junk.split(b"id ")[1].split(b";")[0].split(b"\r")[0].decode())
    assert "which wants such mail to go to Junk" in told


def test_l10_spf_that_cannot_be_asked(daemon: Daemon) -> None:
    assert deliver(daemon, mail("a@half.test"), sender="a@half.test").code == 451
    assert deliver(daemon, mail("a@bank.test"), sender="a@half.test").code == 550, "it could not have been the proof"
    # DKIM proves it, whatever became of SPF.
    assert deliver(daemon, KEY.sign(mail("a@bank.test")), sender="a@half.test").code == 250
    assert "dmarc=pass header.from=bank.test" in results(inbox(daemon)[0])


def test_l15_forged_mail_of_ours_is_not_forwarded(daemon: Daemon) -> None:
    reply = deliver(daemon, mail("boss@example.test"), recipient="team@example.test")
    assert (reply.code, reply.status) == (550, "5.7.1") and "not forwarded" in str(reply)
    assert deliver(daemon, mail("a@bank.test"), recipient="team@example.test").code == 550
    assert daemon.command_json("queue", "list") == []
    # Where it stays here it counts against itself; mail of others is sent on.
    assert deliver(daemon, b"Message-ID: <boss@attack.test>\r\n" + mail("boss@example.test")).code == 250
    assert "It claims to be from example.test, which is served here" in daemon.command("why", "<boss@attack.test>")
    assert deliver(daemon, mail("a@other.test"), recipient="team@example.test").code == 250
    daemon.queue(1)
