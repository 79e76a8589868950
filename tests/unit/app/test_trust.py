"""Mail of strangers through the whole server: judged, filed, explained."""

from __future__ import annotations

import re
from typing import Any

import orjson
from click.testing import CliRunner

from mailserver.commands.group import cli
from mailserver.plugins import BUILT_IN
from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.imap import Imap
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import until

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


#: Gives the points that the subject names, and believes who says so there.
POINTS = """
import re
from contextlib import asynccontextmanager
from mailserver.api import Accept, AuthResult, Findings, Plugin, Reason, header_value

def message(ctx):
    subject = (header_value(ctx.content.head(), b"subject") or b"").decode()
    points = float(re.search(r"[0-9.]+", subject)[0])
    proof = AuthResult(method="dmarc", result="pass", properties=(("header.from", "far.test"),))
    results = (proof,) if "proved" in subject else ()
    return Accept(findings=Findings(results, (Reason("pills", points, "It offers pills"),)))

@asynccontextmanager
async def setup(registry, settings, host):
    registry.on_message(message)
    yield

plugin = Plugin(name="pills", setup=setup)
"""


#: What asks DNS, or gives points of its own.
OTHER_CHECKS = frozenset(BUILT_IN) - {"accounts", "aliases", "history", "junk"}


def judging(make_daemon: DaemonMaker, name: str, source: str) -> Daemon:
    """A server that judges what comes from this machine, by this plugin and no other check."""
    off = {f"plugins.{other}": "enabled = false" for other in OTHER_CHECKS}
    daemon = make_daemon(settings={"limits": "trusted = []", f"plugins.{name}": f'file = "{name}.py"'} | off)
    (daemon.root / f"{name}.py").write_text(source)
    (daemon.root / f"{name}.py").chmod(0o600)
    return daemon


def mailboxes(daemon: Daemon, name: str, *boxes: str) -> list[int]:
    """How many messages an account has in each."""
    with Imap(daemon.ports["imap"]) as imap:
        assert imap.command(f"LOGIN {name}@{DOMAIN} {PASSWORD}").status == "OK"
        found = []
        for box in boxes:
            status = imap.command(f"STATUS {box} (MESSAGES)")
            match = re.search(rb"MESSAGES ([0-9]+)", b"".join(status.untagged))
            found.append(int(match[1]) if match else 0)
        return found


def holds(daemon: Daemon, name: str, counts: list[int], *boxes: str) -> None:
    """So many are there, if not at once: what is under way in a mailbox ends first."""
    until(lambda: mailboxes(daemon, name, *boxes) == counts, lambda: f"{mailboxes(daemon, name, *boxes)}, not {counts}")


def run(daemon: Daemon, *arguments: str, code: int = 0) -> str:
    """What a command writes; it runs here while the server is asked."""
    result = CliRunner().invoke(cli, ["--config", str(daemon.config), *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def run_json(daemon: Daemon, *arguments: str) -> Any:
    """The result of a command with --json."""
    return orjson.loads(run(daemon, *arguments, "--json"))


def send(daemon: Daemon, subject: str, *recipients: str, sender: str = "bounce@far.test") -> Reply:
    """As a stranger; the reply to the message."""
    name = f"{subject.replace(' ', '.')}@far.test"
    message = f"From: Bob <bob@far.test>\r\nSubject: {subject}\r\nMessage-ID: <{name}>\r\n\r\ntext\r\n"
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        return smtp.message(sender, list(recipients), message.encode())


def test_why_explains_what_became_of_mail(make_daemon: DaemonMaker) -> None:
    with judging(make_daemon, "moods", CHECK) as daemon:
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
        # What was refused before there was a message is told as well.
        assert send(daemon, "lost", f"nobody@{DOMAIN}", sender="eve@far.test").code == 550
        told = run(daemon, "why", "eve@far.test")
        assert f"nobody@{DOMAIN}: refused with 550" in told
        assert "It was refused: whoever sent it was told so." in told
        (row,) = run_json(daemon, "history", "--status", "refused")
        assert (row["sender"], row["recipient"], row["code"]) == ("eve@far.test", f"nobody@{DOMAIN}", 550)
        # What a check says may quote the message, and is not for the log.
        assert "mood" in daemon.log_text() and "in no mood" not in daemon.log_text()


def test_points_decide_and_the_account_has_the_last_word(make_daemon: DaemonMaker) -> None:
    boxes = ("INBOX", "Junk", "Rejects")
    with judging(make_daemon, "pills", POINTS) as daemon:
        assert send(daemon, "4", ANNA).code == 250
        assert send(daemon, "6", ANNA).code == 250
        reply = send(daemon, "15", ANNA)
        assert (reply.code, reply.text) == (550, "5.7.1 The recipient's filter takes this message for junk")
        assert send(daemon, "15", ANNA).code == 550
        holds(daemon, "anna", [1, 1, 1], *boxes)
        told = run(daemon, "why", "6@far.test")
        for words in (
            "6.0 points", "+6.0  It offers pills [pills]", "with 5 or more a message goes to Junk [junk]",
            "It is not proved that bob@far.test sent it", "if you want it, move it out of Junk",
        ):  # fmt: skip
            assert words in told, (words, told)
        told = run(daemon, "why", "15@far.test")
        assert "is refused from 12 on" in told and "a copy is in the mailbox Rejects" in told
        # One of two accounts thinks otherwise.
        told = run(daemon, "junk", "set", BEN, "--junk", "20", "--reject", "0")
        assert "mail goes to Junk from 20 points on, and none is refused" in told
        assert send(daemon, "16", ANNA, BEN).code == 250
        holds(daemon, "ben", [1, 0, 0], *boxes)
        holds(daemon, "anna", [1, 1, 2], *boxes)
        assert "raise --reject too" in run(daemon, "junk", "set", ANNA, "--junk", "20", code=1)
        assert [row["own"] for row in run_json(daemon, "junk", "list")] == [False, True, False]
        # Senders: allowed only with a proof.
        assert "mail that is proved to be from" in run(daemon, "sender", "allow", ANNA, "bob@far.test")
        assert send(daemon, "17", ANNA).code == 550
        assert send(daemon, "18 proved", ANNA).code == 250
        holds(daemon, "anna", [2, 1, 3], *boxes)
        assert "You allow mail from bob@far.test (dmarc proves it)" in run(daemon, "why", "18.proved@far.test")
        assert "mail from far.test is refused" in run(daemon, "sender", "block", BEN, "far.test")
        assert send(daemon, "1", BEN).text == "5.7.1 The recipient does not take mail from this sender"
        assert "far.test" in run(daemon, "sender", "list", BEN)
        assert "judged like everybody else" in run(daemon, "sender", "remove", BEN, "far.test")
        assert run(daemon, "sender", "list", BEN) == "nobody is allowed or blocked\n"
        assert send(daemon, "1", BEN).code == 250


#: What a stranger may well write, and nobody should: five signs, and no proof is needed for any of them.
SUSPICIOUS = """From: "security@bank.test" <news@far.test>
Reply-To: bank.security@gmail.com
Subject: =?utf-8?q?Your_acc=E2=80=8Bount?=
Message-ID: <m{number}@far.test>
Content-Type: text/html; charset=utf-8

<p>Please <a href="https://evil.test/login">https://bank.test/login</a> now,
or <a href="https://bank.test@evil.test/">here</a>.</p>
"""


def test_who_was_taken_out_of_junk_gets_through(make_daemon: DaemonMaker) -> None:
    """With all checks as they are by default, and a DNS of their own."""
    with DnsServer() as dns:
        dns.add("far.test", "TXT", '"v=spf1 ip4:127.0.0.1 -all"')
        dns.add("1.0.0.127.in-addr.arpa", "PTR", "mx.far.test.")
        dns.add("mx.far.test", "A", "127.0.0.1")
        settings = {"limits": "trusted = []", "dns": f'servers = ["{dns.endpoint}"]'}
        with make_daemon(settings=settings) as daemon:
            out_of_junk(daemon)


def out_of_junk(daemon: Daemon) -> None:
    numbers = iter(range(1, 1000))

    def sent() -> str:
        number = next(numbers)
        with Smtp(daemon.ports["smtp"]) as smtp:
            smtp.ehlo("mx.far.test")
            message = SUSPICIOUS.format(number=number).replace("\n", "\r\n").encode()
            assert smtp.message("news@far.test", [ANNA], message).code == 250
        return f"m{number}@far.test"

    name = sent()
    holds(daemon, "anna", [0, 1], "INBOX", "Junk")
    told = run(daemon, "why", name)
    for words in (
        "The sender's name shows security@bank.test, but it is from news@far.test [phishing]",
        "+1.0  Nobody here has ever had mail from far.test [reputation]",
        "with 5 or more a message goes to Junk [junk]",
        "To have mail of news@far.test delivered always: mailserver sender allow", "pass (smtp.mailfrom=news@far.test)",
    ):  # fmt: skip
        assert words in told, (words, told)
    with Imap(daemon.ports["imap"]) as imap:
        assert imap.command(f"LOGIN {ANNA} {PASSWORD}").status == "OK"
        assert imap.command("SELECT Junk").status == "OK"
        assert imap.command("MOVE 1 INBOX").status == "OK"

    def arrived() -> str:
        found = sent()
        return found if mailboxes(daemon, "anna", "INBOX") == [2] else ""

    # It is learned within a second or two.
    told = run(daemon, "why", until(arrived))
    assert "-3.0  You wanted mail from news@far.test before" in told
