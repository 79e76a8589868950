"""Greylisting and lists in DNS through the whole server (ATTACKS §1b)."""

from __future__ import annotations

from tests.conftest import DaemonMaker
from tests.helpers.authentication import ANNA, PROXY, deliver, inbox
from tests.helpers.dns import DnsServer
from tests.helpers.smtp import Reply
from tests.helpers.waiting import until

PILLS = b"From: x@far.test\r\nMessage-ID: <1@far.test>\r\nSubject: pills\r\n\r\nbuy\r\n"
CODE = b"From: x@far.test\r\nSubject: Your login code\r\n\r\nIt is 482913.\r\n"


def test_who_looks_bad_comes_again(make_daemon: DaemonMaker) -> None:
    with DnsServer() as dns:
        dns.add("far.test", "TXT", '"v=spf1 -all"')
        dns.add("attack.test", "TXT", '"v=spf1 -all"')
        dns.add("good.test", "TXT", '"v=spf1 ip4:192.0.2.66 -all"')
        settings = {"smtp": PROXY, "dns": f'servers = ["{dns.endpoint}"]', "plugins.greylist": 'delay = "1s"'}
        with make_daemon(settings=settings) as daemon:

            def send(content: bytes = PILLS, sender: str = "x@far.test") -> Reply:
                return deliver(daemon, content, sender=sender)

            first = send()
            assert str(first) == "451 4.7.1 You are not known here yet; please come again in 1 minute (greylisting)"
            assert send(CODE).code == 250, "somebody waits for it"
            assert send(PILLS.replace(b"far", b"good"), "x@good.test").code == 250, "proved"
            until(lambda: send().code == 250)
            assert send(PILLS.replace(b"<1@", b"<2@"), sender="y@far.test").code == 250, "known"
            assert len(inbox(daemon, count=4)) == 4
            told = daemon.command("why", "<1@far.test>")
            assert "asked to come again" in told
            assert "It was asked to come again, and did after" in told
            dns.add("new.test", "TXT", '"v=spf1 -all"')
            assert send(PILLS.replace(b"far", b"new"), "x@new.test").code == 451
            daemon.command("send", "--from", ANNA, stdin="To: x@new.test\r\nSubject: hi\r\n\r\nhi\r\n")
            assert send(PILLS.replace(b"far", b"new"), "x@new.test").code == 250, "anna wrote to it"


def test_lists_in_dns(make_daemon: DaemonMaker) -> None:
    with DnsServer() as dns:
        for zone, answer in (("bad.test", "127.0.0.2"), ("refuses.test", "127.255.255.254"), ("gone.test", "")):
            for name in ("2.0.0.127", "66.2.0.192"):
                if answer:
                    dns.add(f"{name}.{zone}", "A", answer)
        lists = ", ".join(f'{{zone = "{zone}", points = 6}}' for zone in ("bad.test", "refuses.test", "gone.test"))
        settings = {
            "smtp": PROXY, "dns": f'servers = ["{dns.endpoint}"]', "plugins.greylist": "enabled = false",
            "plugins.dnsbl": f"lists = [{lists}]",
        }  # fmt: skip
        with make_daemon(settings=settings) as daemon:
            until(lambda: ("1.0.0.127.bad.test", "A") in dns.queries)
            assert deliver(daemon, PILLS, sender="x@far.test", peer="192.0.2.67").code == 250
            inbox(daemon)
            assert deliver(daemon, PILLS, sender="x@far.test").code == 250
            inbox(daemon, "Junk")
            told = daemon.command("why", "<1@far.test>")
            assert "The server that brought it, 192.0.2.66, is on the list bad.test (127.0.0.2)" in told
            daemon.logged("refuses to answer us", "its test entry is not there")
            assert ("66.2.0.192.gone.test", "A") not in dns.queries
