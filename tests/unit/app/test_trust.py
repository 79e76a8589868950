"""Mail of strangers through the whole server: judged, filed, explained."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
from click.testing import CliRunner

from mailserver.commands.group import cli
from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.smtp import Reply, Smtp

ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
#: Judges by what the subject says.
CHECK = """
from contextlib import asynccontextmanager
from mailserver.api import Accept, AuthResult, Findings, Plugin, Quarantine, Reason, Reject, Reply, header_value

def subject(ctx):
    return (header_value(ctx.content.head(), b"subject") or b"").decode()

def message(ctx):
    results = (AuthResult(method="spf", result="softfail", properties=(("smtp.mailfrom", "far.test"),)),)
    return Accept(findings=Findings(results, (Reason("words", 1.5, "Its subject is “" + subject(ctx) + "”"),)))

def delivery(ctx):
    found = Findings((), (Reason("mood", 9.0, "Anna is in no mood for it", "Try tomorrow"),))
    if subject(ctx) == "nobody" or subject(ctx) == "some" and ctx.account.startswith("anna"):
        return Reject(Reply(550, "5.7.1", "Not wanted"), "mood", findings=found)
    return Quarantine("mood", findings=found) if subject(ctx) == "odd" else None

@asynccontextmanager
async def setup(registry, settings, host):
    registry.on_message(message)
    registry.on_delivery(delivery)
    yield

plugin = Plugin(name="moods", setup=setup)
"""


def run(daemon: Daemon, *arguments: str, code: int = 0) -> str:
    """What a command writes; it runs here while the server is asked."""
    result = CliRunner().invoke(cli, ["--config", str(daemon.config), *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def run_json(daemon: Daemon, *arguments: str) -> Any:
    """The result of a command with --json."""
    return orjson.loads(run(daemon, *arguments, "--json"))


def until(check: Callable[[], Any]) -> Any:
    """Its first true value."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError("it does not come about")


def send(daemon: Daemon, subject: str, *recipients: str, sender: str = "bounce@far.test") -> Reply:
    """As a stranger; the reply to the message."""
    message = f"From: Bob <bob@far.test>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@far.test>\r\n\r\ntext\r\n"
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        return smtp.message(sender, list(recipients), message.encode())


def test_why_explains_what_became_of_mail(make_daemon: DaemonMaker) -> None:
    daemon = make_daemon(settings={"limits": "trusted = []", "plugins.moods": 'file = "moods.py"'})
    (daemon.root / "moods.py").write_text(CHECK)
    (daemon.root / "moods.py").chmod(0o600)
    with daemon:
        assert send(daemon, "odd", ANNA).code == 250
        assert send(daemon, "some", ANNA, BEN).code == 250
        assert send(daemon, "nobody", ANNA, BEN).code == 550
        told = run(daemon, "why", "<odd@far.test>")
        for words in (
            "from 127.0.0.1; sender bounce@far.test", f"{ANNA}: delivered into the mailbox Junk",
            "10.5 points, the sum of these:", "+1.5  Its subject is “odd” [words]",
            "+9.0  Anna is in no mood for it [mood]", "Try tomorrow", "softfail (smtp.mailfrom=far.test)",
            "if you want it, move it out of Junk",
        ):  # fmt: skip
            assert words in told, (words, told)
        told = run(daemon, "why", "some@far.test")
        assert f"{ANNA}: not wanted here, while others took it: a copy is in the mailbox Rejects" in told
        assert f"{BEN}: delivered into the mailbox INBOX" in told
        told = run(daemon, "why", "nobody@far.test")
        assert f"{ANNA}, {BEN}: refused with “550 5.7.1 Not wanted”" in told
        assert "It was refused: whoever sent it was told so." in told
        # By the address that people see.
        rows = run_json(daemon, "why", "Bob@far.test")
        assert [row["message_id"] for row in rows] == ["odd@far.test", "some@far.test", "nobody@far.test"]
        assert [one["score"] for one in rows[0]["judged"]] == [10.5]
        assert rows[0]["judged"][0]["reasons"][1] == {
            "check": "mood", "points": 9.0, "text": "Anna is in no mood for it", "advice": "Try tomorrow",
        }  # fmt: skip
        # What a check says may quote the message, and is not for the log.
        assert "mood" in daemon.log_text() and "in no mood" not in daemon.log_text()
