"""ATTACKS F04: who has no room is refused in the session; and the user heard of it before."""

from __future__ import annotations

import email
import email.policy
from pathlib import Path

from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import until

ANNA = f"anna@{DOMAIN}"


def bring(daemon: Daemon, octets: int) -> Reply:
    """The first refusal, or the last reply."""
    content = b"From: <x@stranger.test>\r\nSubject: hello\r\n\r\n" + b"some text\r\n" * (octets // 11)
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        smtp.command(f"MAIL FROM:<x@stranger.test> SIZE={len(content)}")
        reply = smtp.command(f"RCPT TO:<{ANNA}>")
        if reply.code == 250:
            assert smtp.command("DATA").code == 354
            smtp.send(content + b".\r\n")
            reply = smtp.reply()
        return reply


def warnings(daemon: Daemon) -> list[str]:
    """Subjects of what the server itself wrote to anna."""
    inbox: Path = daemon.data / DOMAIN / "anna"
    parsed = [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for folder in ("new", "cur") for path in (inbox / folder).iterdir()
    ]  # fmt: skip
    return [str(message["Subject"]) for message in parsed if message["From"].startswith("Postmaster")]


def wait_for_warnings(daemon: Daemon, count: int) -> list[str]:
    until(lambda: len(warnings(daemon)) >= count, lambda: daemon.log_text()[-3000:])
    return warnings(daemon)


def test_f04_a_mailbox_that_gets_full(make_daemon: DaemonMaker) -> None:
    with make_daemon() as daemon:
        daemon.command("account", "quota", ANNA, "--octets", "100000")
        assert bring(daemon, 45_000).code == 250
        assert bring(daemon, 45_500).code == 250
        (subject,) = wait_for_warnings(daemon, 1)
        assert subject in ("Your mailbox is 90 % full", "Your mailbox is 91 % full")
        refused = bring(daemon, 20_000)
        assert (refused.code, refused.status) == (452, "4.2.2")
        daemon.restart()
        assert bring(daemon, 1_000).code == 250
        # What is told is told in the order of the events; stopping waits for it.
        daemon.stop()
        assert len(warnings(daemon)) == 1
        assert daemon.log_text().count("quota_warning.told") == 1


def test_f04_warnings_can_be_switched_off(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings={"plugins.quota_warning": "percent = 0"}) as daemon:
        daemon.command("account", "quota", ANNA, "--octets", "100000")
        assert bring(daemon, 95_000).code == 250
        daemon.stop()
        assert warnings(daemon) == []
