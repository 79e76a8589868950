"""DKIM at the door: what the server writes about signatures, and one that comes again and again (ATTACKS L08)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import PROXY, deliver, inbox, results
from tests.helpers.daemon import Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.signing import seal, signer

RSA = signer()
ED = signer("ed25519", domain="list.test")
FORGER = signer("ed25519", domain="forger.test")
MAIL = b"From: anna@signer.test\r\nTo: b@example.test\r\nSubject: h\r\nDate: x\r\n\r\nHello\r\n"


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        for each in (RSA, ED):
            strings = " ".join(f'"{each.record[at : at + 200]}"' for at in range(0, len(each.record), 200))
            server.add(each.name, "TXT", strings)
        server.fail("s._domainkey.broken.test")
        yield server


@pytest.fixture
def server(make_daemon: DaemonMaker, names: DnsServer) -> Iterator[Daemon]:
    settings = {
        "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]', "plugins.dkim_verify": "replay_recipients = 3",
    }  # fmt: skip
    with make_daemon(settings=settings) as daemon:
        yield daemon


def test_results_stand_in_the_message(server: Daemon) -> None:
    broken = signer("ed25519", domain="broken.test")
    message = broken.sign(ED.sign(RSA.sign(MAIL).replace(b"Hello", b"Hello, all")))
    assert deliver(server, message).code == 250
    (stored,) = inbox(server)
    found = results(stored)
    assert "dkim=temperror" in found and "header.d=broken.test" in found
    assert "dkim=pass header.d=list.test header.i=@list.test header.s=s header.a=ed25519-sha256 header.b=" in found
    assert 'dkim=fail reason="the body is not as it was signed" header.d=signer.test' in found
    large = RSA.sign(MAIL + b"some text\r\n" * 500_000)
    assert deliver(server, large).code == 250
    assert "dkim=pass header.d=signer.test" in results(inbox(server, count=2)[1])
    assert deliver(server, MAIL).code == 250
    assert "dkim=none" in results(inbox(server, count=3)[2])


def test_l08_one_signature_that_comes_again(server: Daemon) -> None:
    for number in range(5):
        copy = b"Message-ID: <%d@copies.test>\r\n" % number + RSA.sign(MAIL)
        assert deliver(server, copy).code == 250
    assert all("dkim=pass" in results(each) for each in inbox(server, count=5))
    told = [server.command("why", f"<{number}@copies.test>") for number in range(5)]
    flagged = ["The very same signed message was sent to" in each for each in told]
    assert flagged == [False, False, False, True, True], told[-1]
    assert "4 recipients here" in told[3] and "Do not take it for a message to you" in told[3]


def test_l12_an_unknown_sealer_is_not_heard(make_daemon: DaemonMaker, names: DnsServer) -> None:
    settings = {
        "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]', "plugins.arc": 'trusted_sealers = ["list.test"]',
    }  # fmt: skip
    with make_daemon(settings=settings) as daemon:
        for by in (RSA, ED):
            sealed = seal(MAIL, by, 1, results="dmarc=pass header.from=signer.test")
            assert deliver(daemon, sealed).code == 250
        broken = seal(MAIL, ED, 1).replace(b"Hello", b"Hullo")
        assert deliver(daemon, broken).code == 250
        unknown, known, wrong = [results(each) for each in inbox(daemon, count=3)]
        assert "arc=pass header.oldest-pass=0 header.d=signer.test smtp.remote-ip=192.0.2.66" in unknown
        assert "policy." not in unknown.partition("arc=")[2]
        assert "policy.sealer=list.test policy.dmarc=pass policy.dmarc-from=signer.test" in known
        assert 'arc=fail reason="message signature: the body is not as it was signed" smtp.remote-ip=' in wrong


def test_l12_only_a_listed_sealer_lifts_a_failure_of_dmarc(make_daemon: DaemonMaker, names: DnsServer) -> None:
    names.add("_dmarc.signer.test", "TXT", '"v=DMARC1; p=reject"')
    names.add("s._domainkey.forger.test", "TXT", f'"{FORGER.record}"')
    settings = {
        "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]', "plugins.arc": 'trusted_sealers = ["list.test"]',
    }  # fmt: skip
    changed = RSA.sign(MAIL).replace(b"Subject: h", b"Subject: [list] h")
    claim = "dkim=pass header.d=signer.test; dmarc=pass header.from=signer.test"
    listed = seal(changed, ED, 1, results=claim)
    with make_daemon(settings=settings) as daemon:
        assert deliver(daemon, changed).code == 550
        assert deliver(daemon, seal(changed, FORGER, 1, results=claim)).code == 550
        # Of another author, found wanting by the list itself, or altered since.
        for results_of_list in (claim.replace("from=signer", "from=other"), claim.replace("dmarc=pass", "dmarc=fail")):
            assert deliver(daemon, seal(changed, ED, 1, results=results_of_list)).code == 550
        assert deliver(daemon, listed.replace(b"Hello", b"Hullo")).code == 550
        assert deliver(daemon, seal(seal(changed, FORGER, 1, results=claim), ED, 2, results="dmarc=fail")).code == 550
        assert deliver(daemon, listed).code == 250
        (stored,) = inbox(daemon)
        assert "dkim=fail" in results(stored) and "arc=pass" in results(stored)
