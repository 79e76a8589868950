"""ATTACKS G13 and G14 through the whole server: submitted mail, real DNS, HTTPS and SMTP, and the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp.web

from mailserver.wire.tlsa import written
from tests.conftest import DaemonMaker
from tests.helpers.authority import issue, tlsa
from tests.helpers.daemon import DOMAIN, Daemon, free_port
from tests.helpers.dns import DnsServer
from tests.helpers.protected import policy_text
from tests.helpers.receiver import Receiver
from tests.helpers.submitting import arrived, submit
from tests.helpers.web_server import WebServer


async def told(daemon: Daemon, words: str) -> None:
    await asyncio.to_thread(daemon.logged, words)


async def policy(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
    return aiohttp.web.Response(text=policy_text(mx="mx.sts.test"))


async def test_g13_g14_mail_of_users_is_protected_and_people_can_see_how(
    make_daemon: DaemonMaker, tmp_path: Path
) -> None:
    root = issue(authority=True)
    certificate = issue("mx.sts.test", by=root)
    host = issue("mta-sts.sts.test", by=root)
    with DnsServer() as dns:
        async with (
            WebServer(host.server_context(tmp_path), policy) as web,
            Receiver(port=free_port(), tls=certificate.server_context(tmp_path)) as mx,
            Receiver(port=mx.port, host="127.0.0.2") as bare,
        ):
            dns.add("sts.test", "MX", "10 mx.sts.test.")
            dns.add("mx.sts.test", "A", "127.0.0.1")
            dns.add("_mta-sts.sts.test", "TXT", '"v=STSv1; id=20261120;"')
            dns.add("mta-sts.sts.test", "A", "127.0.0.1")
            dns.add("dane.test", "MX", "10 mx.dane.test.", authentic=True)
            dns.add("mx.dane.test", "A", "127.0.0.1", authentic=True)
            dns.add(f"_{mx.port}._tcp.mx.dane.test", "TLSA", *written([tlsa(certificate.certificate, 3, 1, 1)]),
                    authentic=True)  # fmt: skip
            dns.add("forged.test", "MX", "10 mx.forged.test.", authentic=True)
            dns.add("mx.forged.test", "A", "127.0.0.2", authentic=True)
            dns.add(f"_{mx.port}._tcp.mx.forged.test", "TLSA", *written([tlsa(certificate.certificate, 3, 1, 1)]),
                    authentic=True)  # fmt: skip
            ca_file = root.write_ca(tmp_path)
            settings = {
                "dns": f'servers = ["{dns.endpoint}"]',
                "queue": f'port = {mx.port}\nallow_private_addresses = true\nretry = ["1h"]',
                "plugins.mta_sts": f'port = {web.port}\nca_file = "{ca_file}"',
            }
            with make_daemon(settings=settings, environ={"SSL_CERT_FILE": ca_file}) as daemon:
                for count, domain in enumerate(("sts.test", "dane.test"), 1):
                    await asyncio.to_thread(submit, daemon, f"ben@{domain}")
                    await arrived(mx, count)
                assert all(message.tls for message in mx.messages)
                # Somebody takes STARTTLS out of the way to this one.
                await asyncio.to_thread(submit, daemon, "ben@forged.test")
                await told(daemon, "deferred recipient=ben@forged.test")
                assert "the server does not offer TLS" in daemon.log_text()
                assert bare.messages == []
                await asyncio.to_thread(look, daemon)
                await asyncio.to_thread(daemon.stop)
                # It is kept, and commands work without the server, too.
                rows = await asyncio.to_thread(daemon.command_json, "tls-policy", "list")
                assert [row["domain"] for row in rows] == ["sts.test"]
    assert len(web.requests) == 2, "one for the mail, one for refresh"


def look(daemon: Daemon) -> None:
    """What an operator sees."""
    shown = daemon.command("tls-policy", "show", "sts.test")
    assert "MTA-STS:  enforce, id 20261120, until" in shown
    assert "needs:    TLS, with a certificate of a known authority for mx.sts.test" in shown
    shown = daemon.command("tls-policy", "show", "dane.test")
    assert "needs:    TLS, with a certificate that DNS pins (TLSA)" in shown
    assert "MTA-STS:  none (there is no record)" in shown
    row = daemon.command_json("tls-policy", "show", "forged.test")["hosts"][0]
    assert (row["host"], row["level"], row["mx_authentic"]) == ("mx.forged.test", "dane", True)
    assert daemon.command("tls-policy", "show", DOMAIN) == f"{DOMAIN}: its mailboxes are here\n"
    assert daemon.command("tls-policy", "refresh", "sts.test").startswith("sts.test: enforce, until ")
