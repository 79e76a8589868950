"""ATTACKS F08, and a day of TLS reports, through the whole server: real DNS, SMTP and HTTPS, and the command line."""

from __future__ import annotations

import asyncio
import copy
import gzip
from pathlib import Path

import aiohttp.web
import orjson

from mailserver.wire.tlsa import written
from tests.conftest import DaemonMaker
from tests.helpers.aggregate_reporting import night, parsed, unpacked
from tests.helpers.authority import issue, tlsa
from tests.helpers.daemon import DOMAIN, free_port
from tests.helpers.dns import DnsServer
from tests.helpers.receiver import Receiver
from tests.helpers.smtp import Smtp
from tests.helpers.submitting import ANNA, arrived, submit
from tests.helpers.tls_reports import EXAMPLE, mailed
from tests.helpers.web_server import WebServer


async def test_f08_a_day_of_reports(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    root = issue(authority=True)
    certificate, web_certificate = issue("mx.far.test", by=root), issue("web.far.test", by=root)
    posted: list[bytes] = []

    async def take(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        posted.append(await request.read())
        assert request.headers["Content-Type"] == "application/tlsrpt+gzip"
        return aiohttp.web.Response(status=201)

    with DnsServer() as dns:
        async with (
            WebServer(web_certificate.server_context(tmp_path), take) as web,
            Receiver(port=free_port(), tls=certificate.server_context(tmp_path)) as mx,
            Receiver(port=mx.port, host="127.0.0.2") as bare,
        ):
            dns.add("far.test", "MX", "10 mx.far.test.")
            dns.add("mx.far.test", "A", "127.0.0.1")
            dns.add("web.far.test", "A", "127.0.0.1")
            dns.add("_smtp._tls.far.test", "TXT",
                    f'"v=TLSRPTv1; rua=mailto:tls@reports.test," "https://web.far.test:{web.port}/tls"')  # fmt: skip
            # Where the reports go somebody takes STARTTLS out of the way, and DANE would keep all mail back.
            dns.add("reports.test", "MX", "10 mx.reports.test.", authentic=True)
            dns.add("mx.reports.test", "A", "127.0.0.2", authentic=True)
            dns.add(f"_{mx.port}._tcp.mx.reports.test", "TLSA", *written([tlsa(certificate.certificate, 3, 1, 1)]),
                    authentic=True)  # fmt: skip
            dns.add("_smtp._tls.reports.test", "TXT", '"v=TLSRPTv1; rua=mailto:tls@reports.test"')
            settings = {
                "dns": f'servers = ["{dns.endpoint}"]',
                "queue": f'port = {mx.port}\nallow_private_addresses = true\nretry = ["1h"]',
            }
            environ = {"SSL_CERT_FILE": root.write_ca(tmp_path)}
            with make_daemon(settings=settings, environ=environ) as daemon:
                await asyncio.to_thread(submit, daemon, "ben@far.test")
                await arrived(mx, 1)
                text = await asyncio.to_thread(daemon.command, "report", "tls", "--sent")
                assert "far.test: 1 connection, all good (no policy)" in text and "to be sent" in text
                await asyncio.to_thread(night, daemon, "tlsrpt")
                text = await asyncio.to_thread(daemon.command, "report", "tls", "--send-now")
                assert f"sent to mailto:tls@reports.test, https://web.far.test:{web.port}/tls" in text
                await arrived(bare, 1)
                # Connections that carried a report are in none: there is nothing to report about the day after.
                rows = await asyncio.to_thread(daemon.command_json, "report", "tls", "--sent")
                assert [row["domain"] for row in rows["sent"]] == ["far.test"]
                await asyncio.to_thread(night, daemon, "tlsrpt")
                await asyncio.to_thread(daemon.command, "report", "tls", "--send-now")
                assert (len(bare.messages), len(posted)) == (1, 1)
    check(bare.messages[0].content, posted[0])


def check(octets: bytes, posted: bytes) -> None:
    text = unpacked(octets, "application/tlsrpt+gzip")
    assert text == gzip.decompress(posted)
    report = orjson.loads(text)
    assert report["contact-info"] == f"postmaster@{DOMAIN}"
    (policy,) = report["policies"]
    assert policy["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 0}
    signatures = [str(value).replace(" ", "") for value in parsed(octets).get_all("DKIM-Signature", [])]
    assert len(signatures) == 2
    for signature in signatures:
        assert f"d={DOMAIN};" in signature and ":tls-report-domain:tls-report-submitter" in signature


def test_reports_of_others(make_daemon: DaemonMaker) -> None:
    report = copy.deepcopy(EXAMPLE)
    report["policies"][0]["policy"]["policy-domain"] = DOMAIN
    bomb = gzip.compress(b" " * 20_000_000)
    with DnsServer() as dns, make_daemon(settings={"dns": f'servers = ["{dns.endpoint}"]'}) as daemon:
        with Smtp(daemon.ports["smtp"]) as smtp:
            smtp.ehlo()
            for message in (mailed(report), mailed(report), mailed(bomb), mailed(report, signer="evil.test")):
                assert smtp.message("tls@company-x.example", [ANNA], message).code == 250
        told = daemon.command("report", "tls", DOMAIN)
        assert told.count("Company-X about example.test: 5326 good, 303 FAILED (MTA-STS)") == 1
        assert "100 x the certificate has expired, at mx1.mail.company-y.example" in told
        assert '_smtp._tls.example.test. IN TXT "v=TLSRPTv1; rua=mailto:postmaster@example.test"' in told
        assert "it has more than 10000000 octets" in daemon.log_text()
        assert "it is not signed by its reporter" in daemon.log_text()
        daemon.stop()
        # Kept, and shown without the server, too.
        assert len(daemon.command_json("report", "tls", "--received")["received"]) == 1
