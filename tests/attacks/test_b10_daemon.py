"""ATTACKS B10 and K01 through the whole server: who guesses addresses or passwords is banned, and told so."""

from __future__ import annotations

import base64

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import ANNA, PROXY, deliver
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.smtp import Closed, Reply, Smtp

GUESSER, OTHER = "192.0.2.66", "203.0.113.5"
MESSAGE = b"From: a@far.test\r\n\r\nhello\r\n"
SETTINGS = {
    "smtp": PROXY, "submission": PROXY, "limits": 'unknown_recipient_delay = "0s"\ntrusted = []\nerrors = 100',
    "auth": 'allow_plaintext_from = ["0.0.0.0/0"]',
    "plugins.bans": "failed_logins = 5\nunknown_recipients = 20\nmisbehaviour = 3",
}  # fmt: skip


def connect(daemon: Daemon, peer: str, service: str = "smtp") -> Smtp:
    smtp = Smtp(daemon.ports[service], greeting=False)
    smtp.send(f"PROXY TCP4 {peer} 127.0.0.1 40000 25\r\n".encode())
    return smtp


def greeting(daemon: Daemon, peer: str, service: str = "smtp") -> Reply:
    with connect(daemon, peer, service) as smtp:
        return smtp.reply()


def log_in(smtp: Smtp, password: str) -> Reply:
    return smtp.command("AUTH PLAIN " + base64.b64encode(f"\0{ANNA}\0{password}".encode()).decode())


def test_b10_a_dictionary_of_addresses(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings=SETTINGS) as daemon:
        with connect(daemon, GUESSER) as smtp:
            assert smtp.reply().code == 220
            smtp.ehlo()
            replies = {name: {str(smtp.command(f"{name} {who}")) for who in ("anna", "nobody")}
                       for name in ("VRFY", "EXPN")}  # fmt: skip
            assert [{reply[:3] for reply in told} for told in replies.values()] == [{"252"}, {"502"}]
            assert all(len(told) == 1 for told in replies.values()), "the same for those who are there and who are not"
            smtp.expect("MAIL FROM:<x@far.test>", 250)
            codes = []
            with pytest.raises(Closed):
                for number in range(100):
                    codes.append(smtp.command(f"RCPT TO:<guess{number}@{DOMAIN}>"))
            assert [reply.code for reply in codes] == [550] * 19 + [421]
            assert "192.0.2.66/32 is not listened to until" in codes[-1].text
            assert "too many recipients that do not exist" in codes[-1].text
        daemon.restart()
        for service in ("smtp", "submission"):
            assert greeting(daemon, GUESSER, service).code == 421
        assert deliver(daemon, MESSAGE, peer=OTHER).code == 250
        (ban,) = daemon.command_json("ban", "list")
        assert (ban["network"], ban["times"], ban["by"]) == ("192.0.2.66/32", 1, "server")
        assert ban["until"] - ban["since"] == 900
        assert daemon.command("ban", "lift", GUESSER) == "192.0.2.66/32: listened to again\n"
        assert greeting(daemon, GUESSER).code == 220
        assert daemon.command("ban", "list") == "nobody is banned\n"
        assert "banned until" in daemon.command("ban", "add", "192.0.2.0/24", "--until", "2h", "--reason", "no pills")
        assert "no pills" in greeting(daemon, GUESSER).text
        assert len([line for line in daemon.log_text().splitlines() if " banned " in line]) <= 1


def test_k01_wrong_passwords(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings=SETTINGS) as daemon, connect(daemon, OTHER, "submission") as at_home:
        at_home.reply()
        at_home.ehlo()
        assert log_in(at_home, PASSWORD).code == 235
        for peer in (GUESSER, OTHER):
            with connect(daemon, peer, "submission") as smtp:
                smtp.reply()
                smtp.ehlo()
                assert [log_in(smtp, f"guess{number}").code for number in range(5)] == [535] * 5
        assert "too many failed logins" in greeting(daemon, GUESSER, "submission").text
        assert greeting(daemon, GUESSER).code == 421, "every service"
        assert greeting(daemon, OTHER, "submission").code == 220, "a user came from there"
        assert [ban["network"] for ban in daemon.command_json("ban", "list")] == ["192.0.2.66/32"]


def test_nonsense_and_this_machine(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings=SETTINGS) as daemon:
        for _ in range(3):
            with connect(daemon, GUESSER) as smtp:
                assert smtp.reply().code == 220
                assert smtp.command("GET / HTTP/1.1").code == 554
            with Smtp(daemon.ports["imap"], greeting=False) as imap:
                assert imap.line().startswith(b"* OK")
                imap.send(b"x" * 9000)
                while not imap.line().startswith(b"* BYE"):
                    pass
        assert "too many connections without sense" in greeting(daemon, GUESSER).text
        with Smtp(daemon.ports["imap"], greeting=False) as imap:
            assert imap.line().startswith(b"* OK"), "loopback is never banned, whoever is trusted"
