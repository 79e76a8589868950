"""ATTACKS E08, K01 and K02 through the whole server, and what whoever is banned hears over HTTP."""

from __future__ import annotations

import base64
import http.client
import socket
import time

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import ANNA, PROXY
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.smtp import Reply, Smtp

OPEN = {"submission": PROXY, "limits": "trusted = []", "auth": 'allow_plaintext_from = ["0.0.0.0/0"]'}
HOME, ELSEWHERE = "203.0.113.5", "203.0.113.77"


def aliases() -> dict[str, list[str]]:
    """A circle; chains of ten steps and of one more; each level ten times as wide as the one before."""
    found = {"a": ["b"], "b": ["a"], "chain10": ["anna"], "tree": [f"tree-{one}" for one in range(10)]}
    found |= {f"chain{step}": [f"chain{step + 1}"] for step in range(10)}
    for one in range(10):
        found[f"tree-{one}"] = [f"tree-{one}-{two}" for two in range(10)]
        found |= {
            f"tree-{one}-{two}": [f"u{one}{two}{three}@far.test" for three in range(10)] for two in range(10)
        }
    return found


def test_e08_aliases_that_lead_in_a_circle_too_far_or_too_wide(make_daemon: DaemonMaker) -> None:
    lines = "\n".join(f"{name} = {targets}" for name, targets in aliases().items())
    with make_daemon(settings={f'domains."{DOMAIN}".aliases': lines}) as daemon:
        with Smtp(daemon.ports["smtp"]) as smtp:
            smtp.ehlo()
            smtp.expect("MAIL FROM:<x@far.test>", 250)
            for local, expected in {
                "a": (554, "5.4.6"), "b": (554, "5.4.6"), "tree": (554, "5.4.6"), "chain0": (554, "5.4.6"),
                "chain1": (250, "2.1.5"), "tree-0": (250, "2.1.5"),
            }.items():  # fmt: skip
                reply = smtp.command(f"RCPT TO:<{local}@{DOMAIN}>")
                assert (reply.code, reply.status) == expected, local
            assert smtp.command("DATA").code == 354
            smtp.send(b"From: x@far.test\r\nSubject: hi\r\n\r\nhello\r\n.\r\n")
            assert smtp.reply().code == 250
        # Once to Anna, once to each of the hundred, and to nobody a report about the others.
        waiting = daemon.command_json("queue", "list")
        assert sum(len(item["recipients"]) for item in waiting) == 100
        assert all(item["sender"] for item in waiting)


def log_in(daemon: Daemon, peer: str, password: str, account: str = ANNA) -> Reply:
    with Smtp(daemon.ports["submission"], greeting=False) as smtp:
        smtp.send(f"PROXY TCP4 {peer} 127.0.0.1 40000 25\r\n".encode())
        assert smtp.reply().code == 220
        smtp.ehlo()
        return smtp.command("AUTH PLAIN " + base64.b64encode(f"\0{account}\0{password}".encode()).decode())


def test_k02_many_networks_guess_at_one_account(make_daemon: DaemonMaker) -> None:
    """A hundred guesses a day are looked at, whoever makes them; its owner gets in from where she was before."""
    with make_daemon(settings=OPEN) as daemon:
        assert log_in(daemon, HOME, PASSWORD).code == 235
        codes = [log_in(daemon, f"10.{number}.8.1", f"guess{number}").code for number in range(130)]
        assert codes == [535] * 100 + [454] * 30
        # A right guess among the rest is no better than a wrong one.
        assert log_in(daemon, "10.200.8.1", PASSWORD).code == 454
        assert log_in(daemon, HOME, PASSWORD).code == 235
        # Nor is anybody else locked out.
        assert log_in(daemon, ELSEWHERE, PASSWORD, f"ben@{DOMAIN}").code == 235
        assert daemon.command("ban", "list") == "nobody is banned\n"


def guess(daemon: Daemon, service: str, source: str, password: str) -> str:
    """What is said to it: the code over SMTP, the response code over IMAP; "away" when nobody listens."""
    with Smtp(daemon.ports[service], source=source, greeting=False) as client:
        if service == "submission":
            if client.reply().code == 421:
                return "away"
            client.ehlo()
            secret = base64.b64encode(f"\0{ANNA}\0{password}".encode()).decode()
            return str(client.command(f"AUTH PLAIN {secret}").code)
        if client.line().startswith(b"* BYE"):
            return "away"
        client.send(f"a LOGIN {ANNA} {password}\r\n".encode())
        while not (line := client.line()).startswith(b"a "):
            pass
        return line.decode().partition("]")[0].removeprefix("a NO [")


def test_k01_guesses_over_smtp_and_imap_have_one_counter(make_daemon: DaemonMaker) -> None:
    """Ten a minute are looked at, whichever way they come."""
    settings = {"limits": "trusted = []", "auth": 'allow_plaintext_from = ["127.0.0.0/8"]'}
    with make_daemon(settings=settings) as daemon:
        began = time.monotonic()
        services = ("submission", "imap") * 15
        told = [guess(daemon, name, "127.0.0.66", f"guess{at}") for at, name in enumerate(services)]
        looked_at = sum(one in ("535", "AUTHENTICATIONFAILED") for one in told)
        # A slow machine takes more than the minute.
        assert 10 <= looked_at <= 10 * (1 + (time.monotonic() - began) / 60)
        assert set(told[:10]) == {"535", "AUTHENTICATIONFAILED"}
        assert set(told[10:]) >= {"away"}
        # Elsewhere nobody minds.
        assert guess(daemon, "submission", "127.9.9.9", PASSWORD) == "235"


def own_address() -> str:
    """An address of this machine that is not loopback, which is never banned."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent.
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address: str = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address


def get(port: int, host: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_k01_whoever_is_banned_hears_it_over_http_too(make_daemon: DaemonMaker) -> None:
    host = own_address()
    daemon = make_daemon()
    port = daemon.ports["http"]
    daemon.write_config({"http": f'listen = ["0.0.0.0:{port}"]', "limits": "trusted = []"})
    with daemon:
        assert get(port, host)[0] == 200
        kept = http.client.HTTPConnection(host, port, timeout=20)
        kept.request("GET", "/health/live")
        assert kept.getresponse().read() == b"ok\n"
        daemon.command("ban", "add", host, "--reason", "guesses")
        status, words = get(port, host)
        assert (status, "is not listened to until" in words) == (429, True)
        # So does a connection that was there before.
        kept.request("GET", "/health/live")
        assert kept.getresponse().status == 429
        kept.close()
        assert get(port, "127.0.0.1")[0] == 200
        daemon.command("ban", "lift", host)
        assert get(port, host)[0] == 200
