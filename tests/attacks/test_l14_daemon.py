"""ATTACKS L14, and a day of DMARC reports, through whole servers: real DNS and SMTP, and the command line. What one
server sends another one reads."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

from mailserver.mime.dmarc_feedback import read_feedback
from tests.conftest import DaemonMaker
from tests.helpers.aggregate_reporting import night, parsed, unpacked
from tests.helpers.authentication import PROXY, deliver
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.dmarc_reports import EXAMPLE, XSD, mailed, zipped
from tests.helpers.dns import DnsServer
from tests.helpers.receiver import Receiver
from tests.helpers.submitting import ANNA, arrived
from tests.helpers.xsd import faults

BOMB = gzip.compress(b" " * 100_000_000)
LAUGHS = b'<!DOCTYPE feedback [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><feedback>&b;</feedback>'


def mail(author: str) -> bytes:
    return f"From: {author}\r\nTo: {ANNA}\r\nSubject: x\r\nDate: y\r\n\r\nhello\r\n".encode()


def names(dns: DnsServer) -> None:
    dns.add("_dmarc.far.test", "TXT",
            '"v=DMARC1; p=reject; rua=mailto:dmarc@reports.test!10m,mailto:boss@victim.test"')  # fmt: skip
    dns.add("far.test._report._dmarc.reports.test", "TXT", '"v=DMARC1"')
    dns.add("far.test", "TXT", '"v=spf1 ip4:192.0.2.1 -all"')
    for name, address in (("reports.test", "127.0.0.1"), ("victim.test", "127.0.0.1")):
        dns.add(name, "MX", f"10 mx.{name}.")
        dns.add(f"mx.{name}", "A", address)


async def test_a_day_of_reports(make_daemon: DaemonMaker) -> None:
    with DnsServer() as dns:
        names(dns)
        async with Receiver() as mx:
            settings = {
                "smtp": PROXY, "dns": f'servers = ["{dns.endpoint}"]',
                "queue": f'port = {mx.port}\nallow_private_addresses = true\nretry = ["1h"]',
            }  # fmt: skip
            with make_daemon(settings=settings) as daemon:
                await asyncio.to_thread(a_day, daemon)
                text = await asyncio.to_thread(daemon.command, "report", "dmarc", "--sent", "--send-now")
                assert "sent to mailto:dmarc@reports.test!10m; not to mailto:boss@victim.test" in text, text
                await arrived(mx, 1)
                report = mx.messages[0]
    assert report.mail.startswith("FROM:<>")
    check(report.content)
    # The other end: the server whose address the record names.
    with DnsServer() as dns:
        settings = {
            "smtp": PROXY, "dns": f'servers = ["{dns.endpoint}"]', "plugins.dmarc_report": f'receive_at = ["{ANNA}"]',
        }  # fmt: skip
        with make_daemon(settings=settings) as other:
            await asyncio.to_thread(taken, other, report.content)


def a_day(daemon: Daemon) -> None:
    for _ in range(2):
        assert deliver(daemon, mail("a@far.test"), sender="a@far.test", peer="192.0.2.1").code == 250
    for peer in ("192.0.2.66", "2001:db8::66"):
        assert deliver(daemon, mail("a@far.test"), peer=peer).code == 550
    assert deliver(daemon, mail("a@other.test")).code == 250
    text = daemon.command("report", "dmarc")
    assert "far.test: 4 messages" in text and "to be sent" in text and "other.test" not in text
    assert "2 x far.test from [192.0.2.1]: proved by SPF" in text
    assert "1 x far.test from [2001:db8::66]: NOT PROVED, refused" in text
    assert f'_dmarc.{DOMAIN}. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@{DOMAIN}"' in text
    night(daemon, "dmarc_report")


def check(octets: bytes) -> None:
    document = unpacked(octets, "application/gzip")
    assert faults(document, XSD) == []
    found = read_feedback(document)
    assert (found["messages"], found["failed"], found["refused"], found["p"]) == (4, 2, 2, "reject")
    assert ANNA.encode() not in document and b"a@far.test" not in document
    message = parsed(octets)
    assert message["From"].endswith(f"<postmaster@{DOMAIN}>")
    signatures = [str(value).replace(" ", "") for value in message.get_all("DKIM-Signature", [])]
    assert signatures and all(f"d={DOMAIN};" in signature for signature in signatures)


def taken(daemon: Daemon, octets: bytes) -> None:
    assert deliver(daemon, octets, sender="", helo=f"mail.{DOMAIN}").code == 250
    text = received(daemon)
    assert f"{DOMAIN} about far.test: 4 messages, 2 NOT PROVED (2 refused)" in text
    assert "1 x far.test from [192.0.2.66]: NOT PROVED, refused; not signed; sent as attack.test" in text


def received(daemon: Daemon) -> str:
    """What is told when a report has been read; mail does not wait for that."""
    daemon.logged("dmarc_report.received")
    return daemon.command("report", "dmarc", "--received")


def test_l14_reports_of_others(make_daemon: DaemonMaker) -> None:
    files = [
        BOMB, zipped(("a.xml", b" " * 100_000_000)), zipped(("a.zip", zipped(("b.zip", BOMB)))),
        zipped(("a.xml", EXAMPLE), ("b.xml", EXAMPLE)), gzip.compress(LAUGHS),
        gzip.compress(b"<feedback>" + b"<a/>" * 2_400_000), zipped(("../../../../tmp/l14-written", EXAMPLE)),
    ]  # fmt: skip
    with DnsServer() as dns, make_daemon(settings={"smtp": PROXY, "dns": f'servers = ["{dns.endpoint}"]'}) as daemon:
        for file in files:
            assert deliver(daemon, mailed(file)).code == 250, "it is mail like any other"
        told = received(daemon)
        # The last one was read, wherever its file wants to go.
        assert told.count("Far Mail about example.test: 130 messages, 7 NOT PROVED (7 junk)") == 1
        assert "nothing proves that it is from them" in told
        assert not Path("/tmp/l14-written").exists()
        log = daemon.log_text()
        for words in ("more than 10000000 octets", "archive within an archive", "2 files", "DTD", "elements"):
            assert words in log
        assert daemon.rss() < 400 << 20
        text = daemon.command("report", "dmarc", "--sources")
        assert text.splitlines()[1] == "  example.test  [2001:db8::66]  7, 7 NOT PROVED (sent as evil.test)"
        daemon.stop()
        # Kept, and shown without the server, too.
        assert len(daemon.command_json("report", "dmarc", "--received")["received"]) == 1
