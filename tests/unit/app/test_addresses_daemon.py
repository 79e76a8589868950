"""Temporary and blocked addresses, domains that stand for others, and folders, through the whole server."""

from __future__ import annotations

from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import until

ANNA = f"anna@{DOMAIN}"


def bring(daemon: Daemon, to: str) -> Reply:
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        return smtp.message("x@far.test", [to], f"From: <x@far.test>\r\nTo: <{to}>\r\n\r\nHello.\r\n".encode())


def test_they_work(make_daemon: DaemonMaker) -> None:
    with make_daemon() as daemon:
        made = daemon.command_json("alias", "temporary", ANNA, "--days", "3", "--note", "the shop")
        assert bring(daemon, made["address"]).code == 250
        daemon.command("alias", "block", f"anna+old@{DOMAIN}")
        assert bring(daemon, f"anna+old@{DOMAIN}").status == "5.1.1"
        daemon.command("domain", "alias", "second.test", DOMAIN)
        with Imap(daemon.ports["imap"]) as imap:
            imap.login(ANNA, PASSWORD)
            imap.ok("CREATE Lists")
            daemon.command("vacation", "set", ANNA, "--text", "I am away.")
            assert bring(daemon, "anna+lists@second.test").code == 250
            imap.ok("SELECT Lists")
            until(lambda: imap.ok("NOOP") and imap.bodies())
            assert len(imap.bodies()) == 1
            # Who is away answers that, too.
            daemon.logged("vacation.answered")
            imap.ok("SELECT INBOX")
            until(lambda: imap.ok("NOOP") and len(imap.bodies()) == 1)
        daemon.restart()
        assert made["address"] in daemon.command("alias", "temporaries", ANNA)
        daemon.command("alias", "drop", made["address"])
        reply = bring(daemon, made["address"])
        assert (reply.code, reply.status) == (550, "5.1.1")
        assert "temporary" in reply.text
        assert "second.test" in daemon.command("domain", "aliases")
        assert "anna+old" in daemon.command("alias", "blocked")
        daemon.command("alias", "unblock", f"anna+old@{DOMAIN}")
        daemon.command("domain", "unalias", "second.test")
        assert bring(daemon, f"anna+old@{DOMAIN}").code == 250
        assert "existing (as config.toml says)" in daemon.command("account", "folders", ANNA)
        assert daemon.command("account", "folders", ANNA, "off").strip().endswith("off")
