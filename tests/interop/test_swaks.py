"""swaks: every way to log in and every way to use TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.daemon import PASSWORD, Daemon
from tests.interop.programs import ANNA, Done, needs, run, sole_message

pytestmark = [pytest.mark.interop, needs("swaks")]

TLS = {
    "plain": ("submission", []),
    "starttls": ("submission", ["--tls"]),
    "implicit": ("submissions", ["--tls-on-connect"]),
}


def swaks(daemon: Daemon, home: Path, service: str, *arguments: str) -> Done:
    port = str(daemon.ports[service])
    return run(["swaks", "--server", "127.0.0.1", "--port", port, "--to", ANNA, *arguments], home)


@pytest.mark.parametrize("tls", list(TLS))
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_login(shared_daemon: Daemon, home: Path, mechanism: str, tls: str) -> None:
    service, options = TLS[tls]
    name = f"<swaks-{mechanism}-{tls}@client.test>"
    done = swaks(
        shared_daemon, home, service, "--from", ANNA, "--auth", mechanism, "--auth-user", ANNA,
        "--auth-password", PASSWORD, "--header", f"Message-ID: {name}", "--body", "grüße\n.\n..\nend", *options,
    )  # fmt: skip
    assert done.code == 0, done.output
    assert "grüße\r\n.\r\n..\r\nend".encode() in sole_message(shared_daemon, ANNA, name)


@pytest.mark.parametrize("tls", list(TLS))
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_wrong_password(shared_daemon: Daemon, home: Path, mechanism: str, tls: str) -> None:
    service, options = TLS[tls]
    done = swaks(
        shared_daemon, home, service, "--from", ANNA, "--auth", mechanism, "--auth-user", ANNA,
        "--auth-password", "wrong", "--quit-after", "AUTH", *options,
    )  # fmt: skip
    assert done.code == 28, done.output
    assert "535 5.7.8" in done.output


def test_submission_wants_a_login(shared_daemon: Daemon, home: Path) -> None:
    done = swaks(shared_daemon, home, "submission", "--from", ANNA, "--quit-after", "RCPT")
    assert done.code != 0
    assert "530 5.7.0" in done.output, done.output


def test_mail_from_elsewhere(shared_daemon: Daemon, home: Path) -> None:
    for options in ([], ["--pipeline"], ["--tls"], ["--tls", "--pipeline"], ["--protocol", "SMTP"]):
        name = f"<swaks-in{''.join(options)}@client.test>"
        done = swaks(
            shared_daemon, home, "smtp", "--from", "s@sender.test", "--header", f"Message-ID: {name}", *options
        )
        assert done.code == 0, done.output
        assert sole_message(shared_daemon, ANNA, name).startswith(b"Return-Path: <s@sender.test>\r\n")


def test_no_relay(shared_daemon: Daemon, home: Path) -> None:
    done = run(
        ["swaks", "--server", "127.0.0.1", "--port", str(shared_daemon.ports["smtp"]), "--to", "x@elsewhere.test",
         "--from", "s@sender.test", "--quit-after", "RCPT"], home,
    )  # fmt: skip
    assert done.code == 24, done.output


def test_no_login_on_the_port_for_other_servers(shared_daemon: Daemon, home: Path) -> None:
    done = swaks(
        shared_daemon, home, "smtp", "--from", ANNA, "--auth", "PLAIN", "--auth-user", ANNA, "--auth-password", PASSWORD
    )
    assert done.code == 28, done.output


def test_mail_for_elsewhere_waits_in_the_queue(shared_daemon: Daemon, home: Path) -> None:
    done = run(
        ["swaks", "--server", "127.0.0.1", "--port", str(shared_daemon.ports["submission"]), "--to", "x@elsewhere.test",
         "--from", ANNA, "--auth", "PLAIN", "--auth-user", ANNA, "--auth-password", PASSWORD], home,
    )  # fmt: skip
    assert done.code == 0, done.output
    waiting = shared_daemon.queue(1)
    assert [(item["sender"], item["recipients"]) for item in waiting] == [(ANNA, ["x@elsewhere.test"])]
