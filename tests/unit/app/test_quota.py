"""Limits that a quota administrator sets by IMAP: in the real server, for SMTP, for the command line, after a kill."""

from __future__ import annotations

from collections.abc import Callable

from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.smtp import Smtp

BEN = f"ben@{DOMAIN}"
ROOT = f'"#user/{BEN}"'


def rcpt(daemon: Daemon, size: int = 10) -> tuple[int, str]:
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        assert smtp.command(f"MAIL FROM:<a@far.test> SIZE={size}").code == 250
        reply = smtp.command(f"RCPT TO:<{BEN}>")
        return reply.code, reply.status


def test_set_by_imap(make_daemon: Callable[..., Daemon]) -> None:
    administrators = f'quota_administrators = ["anna@{DOMAIN}", "zoe@{DOMAIN}"]'
    # A warning is a message, and here messages are counted.
    settings = {"imap": administrators, "plugins.quota_warning": "enabled = false"}
    with make_daemon(settings=settings) as daemon:
        assert f"imap.quota_administrators: there is no account zoe@{DOMAIN}" in daemon.log_text()
        port = daemon.ports["imap"]
        with Imap(port) as anna, Imap(port) as ben:
            anna.login(f"anna@{DOMAIN}", PASSWORD)
            ben.login(BEN, PASSWORD)
            ben.append("INBOX", b"Subject: one\r\n\r\nx\r\n")
            assert rcpt(daemon)[0] == 250
            answer = anna.ok(f"SETQUOTA {ROOT} (MESSAGE 1 STORAGE 2)")
            assert answer.untagged == (f"* QUOTA {ROOT} (STORAGE 1 2 MESSAGE 1 1)".encode(),)
            # At once: for mail from outside, for a session that was there, for the command line.
            assert rcpt(daemon) == (452, "4.2.2")
            assert ben.command("APPEND INBOX {3+}\r\nabc").code("OVERQUOTA") == ""
            assert ben.ok("GETQUOTAROOT INBOX").untagged[1] == b'* QUOTA "" (STORAGE 1 2 MESSAGE 1 1)'
            shown = daemon.command_json("account", "quota", BEN)
            assert (shown["octets_limit"], shown["messages_limit"], shown["messages"]) == (2048, 1, 1)
            # And what the command line sets is seen by the administrator's session.
            daemon.command("account", "quota", BEN, "--messages", "5")
            assert anna.ok(f"GETQUOTA {ROOT}").untagged == (f"* QUOTA {ROOT} (STORAGE 1 2 MESSAGE 1 5)".encode(),)
            assert (rcpt(daemon, 100)[0], rcpt(daemon, 3000)) == (250, (452, "4.2.2"))
        daemon.kill9()
        daemon.start()
        assert rcpt(daemon, 3000) == (452, "4.2.2")
        rows = {row["address"]: row for row in daemon.command_json("account", "list")}
        assert (rows[BEN]["octets_limit"], rows[BEN]["messages_limit"]) == (2048, 5)
        daemon.stop()
        # The account's own file is lost, and nobody calls for a rebuild.
        (daemon.data / DOMAIN / "ben" / "mailserver-account").unlink()
        daemon.start()
        assert rcpt(daemon, 3000) == (452, "4.2.2")
        daemon.command("mailbox", "rebuild", BEN)
        assert rcpt(daemon, 3000) == (452, "4.2.2")
        with Imap(port) as anna:
            assert "QUOTASET" in (anna.login(f"anna@{DOMAIN}", PASSWORD).code("CAPABILITY") or "").split()
            assert anna.ok(f"SETQUOTA {ROOT} ()").untagged == (f"* QUOTA {ROOT} ()".encode(),)
        assert rcpt(daemon, 3000)[0] == 250
        assert "quota set" in daemon.log_text()
