"""The command line without a server: every command works on the data itself, and says what is wrong in words."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import structlog
from click.testing import CliRunner, Result

from mailserver.app.config import DEFAULT_PLUGIN_ORDER
from mailserver.app.lock import data_lock
from mailserver.commands import COMMANDS
from mailserver.commands.engine import perform
from mailserver.commands.group import cli
from mailserver.commands.options import Failed, read_password, show_rows
from mailserver.plugins import BUILT_IN

REPOSITORY = Path(__file__).parents[3]


class Line:
    """A command line with a configuration and data of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.toml"
        self.config.write_text('hostname = "mail.example.test"\n[domains."example.test"]\n')

    def __call__(self, *arguments: str, stdin: str | bytes = "", code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--config", str(self.config), *arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: str) -> Any:
        return self.json_of(*arguments)

    def json_of(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Line(tmp_path)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_help_names_every_command_and_imports_none() -> None:
    script = (
        "import sys\nfrom mailserver.commands import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'aiohttp', 'uvloop', 'pydantic', 'aiosmtpd', 'mailserver.app.load', 'mailserver.app.build'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    for name, text in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert text in done.stdout


def test_a_command_that_asks_the_server_does_not_import_the_server() -> None:
    script = (
        "import sys\nimport mailserver.commands.account, mailserver.commands.queue, mailserver.commands.send\n"
        "heavy = {'aiohttp', 'uvloop', 'aiosmtpd', 'argon2', 'mailserver.app.build'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=REPOSITORY)


def test_a_start_imports_no_more_of_others_than_it_needs() -> None:
    """Each module makes a start about a millisecond longer; that is counted, since time is different every time.

    543 on Python 3.11; aiohttp, cryptography and pydantic bring a third of them. rich, which structlog imports where it
    finds it, is here because of a tool for development.
    """
    script = (
        "import sys\nimport mailserver.commands.serve\n"
        "print(sum(name.partition('.')[0] not in ('mailserver', 'rich', 'pygments') for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert int(done.stdout) < 580


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_is_a_module_of_its_name_and_takes_config(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help

    def check(inner: click.Command) -> None:
        assert any("--config" in option.opts for option in inner.params), inner.name
        for child in getattr(inner, "commands", {}).values():
            check(child)
            if child.name in ("list", "hooks"):
                assert any("--json" in option.opts for option in child.params), child.name

    check(command)


def test_config_may_stand_before_or_after_the_command(line: Line) -> None:
    for arguments in (
        ["--config", str(line.config), "domain", "list"],
        ["domain", "--config", str(line.config), "list"],
        ["domain", "list", "--config", str(line.config)],
        ["--config", "elsewhere.toml", "domain", "list", f"--config={line.config}"],
    ):
        assert "example.test" in CliRunner().invoke(cli, arguments).stdout


def test_exit_codes(line: Line) -> None:
    def code(*arguments: str) -> tuple[int, str]:
        argv = [sys.executable, str(REPOSITORY / "cli.py"), *arguments]
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, cwd=line.root, stdin=subprocess.DEVNULL
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert code("domain", "list") == (0, "")
    assert code("domain", "remove", "nowhere.test") == (1, "Error: the domain nowhere.test is not served\n")
    for usage in (
        ["domain", "remove"],
        ["nonsense"],
        ["queue", "list", "--nonsense"],
        ["account", "quota", "a@b", "--octets", "5 GB"],
    ):
        assert code(*usage)[0] == 2
    line.config.write_text('[smpt]\n[imap]\nid = "x"\n')
    expected = (
        f'{line.config}:1: smpt: there is no such setting; did you mean "smtp"?\n'
        f"{line.config}:3: imap.id: must be true or false\n"
    )
    for command in (["domain", "list"], ["check"], ["serve"]):
        assert code(*command) == (2, expected)
    line.config.unlink()
    returned, words = code("check")
    assert returned == 2
    assert "there is no config.toml and no /etc/mailserver/config.toml" in words


def test_accounts(line: Line) -> None:
    assert line("account", "list").stdout.startswith("no accounts yet; make one: ")
    assert line("account", "add", "Anna@Example.TEST", stdin="secret1\n").stdout == "Anna@example.test: account made\n"
    assert line("account", "add", "anna@example.test", stdin="x\n", code=1).stderr == (
        "Error: there is an account anna@example.test already\n"
    )
    assert [row["address"] for row in line.json("account", "list")] == ["Anna@example.test"]
    assert (
        line("account", "password", "anna@example.test", stdin="secret2").stdout == "Anna@example.test: password set\n"
    )
    assert line("account", "password", "ben@example.test", stdin="x\n", code=1).stderr == (
        "Error: there is no account ben@example.test; see them all: mailserver account list\n"
    )
    line("account", "quota", "anna@example.test", "--octets", "2GiB", "--messages", "1000")
    assert line("account", "quota", "anna@example.test").stdout == (
        "Anna@example.test: 0B of 2GiB, 0 of 1000 messages\n"
    )
    assert line.json("account", "quota", "anna@example.test")["octets_limit"] == 2 << 30
    line("account", "quota", "anna@example.test", "--octets", "0")
    assert line.json("account", "list")[0]["octets_limit"] == 0
    assert line.json("account", "list")[0]["messages_limit"] == 1000
    mail = line.root / "maildir" / "example.test" / "anna"
    assert line("account", "remove", "anna@example.test").stdout == (
        f"Anna@example.test: account removed; its mail is still in {mail}\n"
    )
    assert (mail / "cur").is_dir()
    line("account", "add", "anna@example.test", stdin="secret\n")
    assert "its mail deleted" in line("account", "remove", "anna@example.test", "--purge").stdout
    assert not mail.exists()


def test_app_passwords(line: Line) -> None:
    line("account", "add", "anna@example.test", stdin="secret\n")
    assert line("account", "app-password", "list", "anna@example.test").stdout == "no app passwords\n"
    made = line.json("account", "app-password", "add", "anna@example.test", "phone", "--for", "imap")
    assert len(made["password"].replace("-", "")) == 26
    listed = line("account", "app-password", "list", "anna@example.test").stdout
    assert "phone" in listed and "never" in listed and made["password"] not in listed
    assert line.json("account", "app-password", "list", "anna@example.test")[0]["protocols"] == ["imap"]
    assert "already" in line("account", "app-password", "add", "anna@example.test", "phone", code=1).stderr
    line("account", "app-password", "remove", "anna@example.test", "phone")
    assert "no app password" in line("account", "app-password", "remove", "anna@example.test", "phone", code=1).stderr


def test_an_account_needs_a_served_domain(line: Line) -> None:
    assert line("account", "add", "a@other.test", stdin="x\n", code=1).stderr == (
        "Error: other.test is not served; serve it first: mailserver domain add other.test\n"
    )
    assert line("account", "add", "nobody", stdin="x\n", code=1).stderr == "Error: the address has no domain\n"


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ("", "there is no password: type one at a terminal, or give it as the first line of standard input"),
        ("\n", "there is no password: type one at a terminal, or give it as the first line of standard input"),
        (b"\xff\n", "the password on standard input is not UTF-8"),
        ("x" * 5000, "the password is longer than 1024 characters"),
    ],
)
def test_bad_passwords(line: Line, stdin: str | bytes, words: str) -> None:
    assert line("account", "add", "a@example.test", stdin=stdin, code=1).stderr == f"Error: {words}\n"


def test_a_password_keeps_its_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    with CliRunner().isolation(input=" two words \r\nnext line\n"):
        assert read_password("") == " two words "


def test_aliases(line: Line) -> None:
    assert line("alias", "list").stdout == "no aliases\n"
    assert line("alias", "add", "info@example.test", "a@example.test", "b@elsewhere.test").stdout.splitlines() == [
        "info@example.test → a@example.test, b@elsewhere.test",
        "b@elsewhere.test was asked to agree, and gets no mail of info@example.test before; see: mailserver alias list",
    ]
    (row,) = line.json("alias", "list")
    (pending,) = row.pop("pending")
    assert row == {
        "address": "info@example.test", "targets": ["a@example.test", "b@elsewhere.test"], "from_config": False
    }  # fmt: skip
    assert (pending["target"], round(pending["until"] - time.time(), -2)) == ("b@elsewhere.test", 604800)
    assert "b@elsewhere.test (asked, until 20" in line("alias", "list").stdout
    assert "was asked within the last hour" in line(
        "alias", "add", "info@example.test", "b@elsewhere.test", code=1
    ).stderr
    (letter,) = line.json("queue", "list")
    assert letter["recipients"] == ["b@elsewhere.test"]
    words = "b@elsewhere.test gets the mail for info@example.test from now on\n"
    assert line("alias", "confirm", "info@example.test", "B@elsewhere.test").stdout.lower() == words
    assert line.json("alias", "list")[0]["pending"] == []
    assert "waits for no answer of b@elsewhere.test" in line(
        "alias", "confirm", "info@example.test", "b@elsewhere.test", code=1
    ).stderr
    line("alias", "add", "sales@example.test", "c@elsewhere.test", "--confirmed")
    assert line.json("alias", "list")[1]["pending"] == []
    line("alias", "remove", "sales@example.test")
    assert line("alias", "remove", "info@example.test").stdout == "info@example.test: alias removed\n"
    assert line("alias", "remove", "info@example.test", code=1).stderr == "Error: there is no alias info@example.test\n"


def test_forwards(line: Line) -> None:
    line("account", "add", "fred@example.test", stdin="secret-canary-1\n")
    assert line("account", "forward").stdout == "no account forwards its mail\n"
    assert line("account", "forward", "fred@example.test", "b@elsewhere.test").stdout.splitlines() == [
        "fred@example.test → b@elsewhere.test; a copy stays",
        ("b@elsewhere.test was asked to agree, and gets no mail of fred@example.test before;"
         " see: mailserver account forward --list"),
    ]  # fmt: skip
    assert "b@elsewhere.test (asked, until 20" in line("account", "forward", "--list").stdout
    line("alias", "confirm", "fred@example.test", "b@elsewhere.test")
    assert "no copy stays" in line("account", "forward", "fred@example.test", "--no-keep").stdout
    (row,) = line.json("account", "forward", "fred@example.test", "--list")
    assert row == {
        "account": "fred@example.test", "targets": ["b@elsewhere.test"], "keep": False, "rests": False, "pending": [],
    }  # fmt: skip
    line("account", "forward", "fred@example.test", "c@elsewhere.test", "--confirmed", "--keep")
    assert line("account", "forward", "fred@example.test", "--remove").stdout == (
        "fred@example.test: mail stays here from now on\n"
    )
    assert line("account", "forward", "fred@example.test", "--remove", code=1).stderr == (
        "Error: the mail for fred@example.test is not forwarded\n"
    )
    line("account", "forward", "--remove", "--keep", "fred@example.test", code=2)
    line("account", "forward", "x@example.test", "--keep", code=1)


def test_domains(line: Line) -> None:
    assert line("domain", "add", "BÜCHER.test").stdout.startswith("xn--bcher-kva.test: served from now on; next: ")
    rows = {row["domain"]: row for row in line.json("domain", "list")}
    assert rows["example.test"]["from_config"]
    assert not rows["xn--bcher-kva.test"]["from_config"]
    line("domain", "remove", "bücher.test")
    assert (
        "stands in the configuration file; remove it there" in line("domain", "remove", "example.test", code=1).stderr
    )


def test_check(line: Line) -> None:
    assert line("check").stdout == f"{line.config}: good\n"
    assert not (line.root / "maildir").exists(), "check touched the data"


def test_check_warns_of_administrators_that_are_nobody(line: Line) -> None:
    line("account", "add", "anna@example.test", stdin="secret words\n")
    with line.config.open("a") as file:
        file.write('[imap]\nquota_administrators = ["anna@example.test", "Zoe@example.test"]\n')
    done = line("check")
    assert done.stdout == f"{line.config}: good\n"
    assert [row for row in done.stderr.splitlines() if "imap." in row] == [
        "warning: imap.quota_administrators: there is no account zoe@example.test; make it, or take the name out"
    ]
    line.config.write_text(line.config.read_text().replace("Zoe@example.test", "Zoe"))
    assert f"{line.config}:4: imap.quota_administrators: the address has no domain" in line("check", code=2).stderr


def test_check_finds_what_clashes_with_the_accounts(line: Line) -> None:
    line("domain", "add", "second.test")
    line("alias", "add", "info@example.test", "a@example.test")
    with line.config.open("a") as file:
        file.write('aliases = {info = ["b@example.test"]}\n[domains."second.test"]\n')
    stderr = line("check", code=2).stderr
    assert f'{line.config}:3: domains."example.test".aliases.info: the alias is in accounts.db too' in stderr
    assert f'{line.config}:4: domains."second.test": the domain is in accounts.db too' in stderr


def test_check_tells_core_and_plugin_problems_together(line: Line) -> None:
    with line.config.open("a") as file:
        file.write(
            '[imap]\nlisten = 5\n[plugins.gone]\n[plugins.rate_limit]\nmessages = 5\n[plugins.mine]\nfile = "mine.py"\n'
        )
    stderr = line("check", code=2).stderr.splitlines()
    assert [row.partition(": ")[0] for row in stderr] == [f"{line.config}:{number}" for number in (4, 5, 7, 9)]
    assert 'plugins.rate_limit.messages: there is no such setting; did you mean "messages_per_minute"?' in stderr[2]


def test_config_prints_the_file_that_is_shipped(line: Line) -> None:
    assert line("config").stdout == (REPOSITORY / "config.toml").read_text(encoding="utf-8")


def test_plugins_and_hooks(line: Line) -> None:
    names = [row["name"] for row in line.json("plugin", "list")]
    assert names[: len(DEFAULT_PLUGIN_ORDER)] == DEFAULT_PLUGIN_ORDER and sorted(names) == sorted(BUILT_IN)
    hooks = {row["name"]: row for row in line.json("plugin", "hooks")}
    assert hooks["resolve"]["plugins"] == ["srs", "addresses", "accounts", "aliases"]
    assert "on_rcpt" in line("plugin", "hooks").stdout


def test_send_and_the_queue(line: Line) -> None:
    line("account", "add", "anna@example.test", stdin="secret\n")
    assert line("queue", "list").stdout == "the queue is empty\n"
    message = "To: Anna <anna@example.test>, x@remote.test\nBcc: hidden@remote.test\nSubject: hello\n\nbody\n"
    assert "Kept as" in line("send", "--from", "anna@example.test", stdin=message).stdout
    (kept,) = (line.root / "maildir" / "example.test" / "anna" / "new").iterdir()
    text = kept.read_bytes()
    assert b"\r\nSubject: hello\r\n" in text
    assert b"\r\nMessage-ID: <" in text
    assert b"hidden" not in text
    (row,) = line.json("queue", "list")
    assert row["recipients"] == ["x@remote.test", "hidden@remote.test"]
    assert row["queue_id"] in line("queue", "list").stdout
    shown = line("queue", "show", row["queue_id"]).stdout
    assert "x@remote.test: waiting, 0 attempts so far, next attempt now" in shown
    assert "no message nonsense waits in the queue" in line("queue", "show", "nonsense", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "message", "words"),
    [
        (["--from", "ben@example.test"], "To: a@b.test\n\n", "there is no account ben@example.test"),
        (["--from", "anna@example.test"], "Subject: to nobody\n\n", "the message names no recipient in To, Cc or Bcc"),
        (
            ["--from", "anna@example.test", "--to", "nobody@example.test"],
            "\n",
            "nobody@example.test: No such mailbox here (550)",
        ),
        (
            ["--from", "anna@example.test"],
            "From: ceo@example.test\nTo: a@b.test\n\n",
            "does not belong to your account (553)",
        ),
    ],
)
def test_send_refuses_what_submission_refuses(line: Line, arguments: list[str], message: str, words: str) -> None:
    line("account", "add", "anna@example.test", stdin="secret\n")
    assert words in line("send", *arguments, stdin=message, code=1).stderr
    assert line.json("queue", "list") == []


def test_tables_are_aligned_and_show_nothing_that_commands_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": "x\x1b[31m", "b": True, "c": []}, {"a": "longer value", "b": False, "c": ["1", "2"]}]
    show_rows(rows, {"a": "A", "b": "B", "c": "C"}, as_json=False, none="-")
    assert capsys.readouterr().out == "A             B    C\nx?[31m        yes  -\nlonger value  no   1, 2\n"


def test_mailbox_verify_and_rebuild(line: Line) -> None:
    line("account", "add", "anna@example.test", stdin="secret\n")
    line("send", "--from", "anna@example.test", stdin="To: anna@example.test\nSubject: hello\n\nbody\n")
    assert line("mailbox", "verify", "anna@example.test").stdout == "1 account: nothing wrong\n"
    assert line("mailbox", "verify").stdout == "1 account: nothing wrong\n"
    mail = line.root / "maildir" / "example.test" / "anna"
    (message,) = (mail / "new").iterdir()
    message.chmod(0o644)
    (mail / "maildirfolder").unlink(missing_ok=True)
    (mail / "new" / "1.empty.host").touch(0o600)
    broken = line("mailbox", "verify", "anna@example.test", code=1)
    assert message.name in broken.stdout
    assert "faults; mend them: mailserver mailbox rebuild ADDRESS" in broken.stderr
    rows = line.json_of("mailbox", "verify", "anna@example.test", code=1)
    assert {row["problem"] for row in rows} >= {"open-to-others", "file-empty"}
    assert "faults mended, nothing wrong now" in line("mailbox", "rebuild", "anna@example.test").stdout
    assert line("mailbox", "verify", "anna@example.test").stdout == "1 account: nothing wrong\n"
    assert b"Subject: hello" in next((mail / "new").iterdir()).read_bytes()
    assert "there is no account ben@example.test" in line("mailbox", "verify", "ben@example.test", code=1).stderr


def test_mailbox_adopt_and_export(line: Line) -> None:
    line("account", "add", "anna@example.test", stdin="secret\n")
    mail = line.root / "maildir" / "example.test" / "anna"
    (mail / "cur" / "1600000000.M1P1.old:2,S").write_bytes(b"Subject: old\n\nbody\n")
    (mail / "cur" / "1600000000.M1P1.old:2,S").chmod(0o600)
    boxes = {box["mailbox"]: box for box in line.json("mailbox", "adopt", "anna@example.test")}
    assert boxes["INBOX"]["messages"] == 1
    assert boxes["Sent"]["messages"] == 0
    assert line("mailbox", "adopt", "anna@example.test").stdout.startswith("MAILBOX ")
    shown = line("mailbox", "export", "--dovecot", "anna@example.test").stdout
    assert shown == f"anna@example.test: 1 messages in 6 mailboxes, in {mail}\n"
    assert (mail / "dovecot-uidlist").read_text().startswith(f"3 V{boxes['INBOX']['uid_validity']} N")
    assert line("mailbox", "export", "anna@example.test", code=2).stderr


def test_the_readme_names_every_command() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert re.search(rf"^    mailserver {name}\b", readme, re.MULTILINE), name
        group = cli.get_command(click.Context(cli), name)
        for inner in getattr(group, "commands", {}):
            assert re.search(rf"^    mailserver {name} .*\b{inner}\b", readme, re.MULTILINE), f"{name} {inner}"


def test_a_server_that_does_not_answer_is_told_apart_from_none(line: Line) -> None:
    with data_lock(line.root / "maildir"):
        stderr = line("account", "list", code=1).stderr
    assert "the server runs, but its admin socket does not answer" in stderr
    line("account", "list")
def test_mailbox_share_and_shares(line: Line) -> None:
    for name in ("anna", "ben"):
        line("account", "add", f"{name}@example.test", stdin="secret\n")
    share = ("mailbox", "share", "anna@example.test")
    assert line("mailbox", "shares", "anna@example.test").stdout == "anna@example.test shares nothing\n"
    line(*share, "inbox", "--with", "Ben@Example.test", "--rights", "lrs")
    line(*share, "Sent", "--with", "anyone", "--rights", "l")
    line(*share, "INBOX", "--with", "ben@example.test", "--rights", "+i")
    rows = line.json_of(*share, "INBOX", "--with", "ben@example.test", "--rights", "-s")
    assert rows == [{"mailbox": "INBOX", "identifier": "ben@example.test", "rights": "lri"}]
    assert [text.split() for text in line("mailbox", "shares", "anna@example.test").stdout.splitlines()] == [
        ["MAILBOX", "WITH", "RIGHTS"], ["INBOX", "ben@example.test", "lri"], ["Sent", "anyone", "l"],
    ]  # fmt: skip
    ended = line(*share, "Sent", "--with", "anyone", "--rights", "")
    assert ended.stdout == "Sent is shared with nobody\n"
    for mailbox, who, rights, words in (
        ("Nowhere", "ben@example.test", "l", "there is no such mailbox"),
        ("INBOX", "cleo@example.test", "l", "there is no account cleo@example.test"),
        ("INBOX", "@elsewhere.test", "l", "there is no domain elsewhere.test"),
        ("INBOX", "anna@example.test", "l", "the owner of a mailbox always has all rights"),
        ("INBOX", "ben", "l", "an identifier is an address"),
        ("INBOX", "ben@example.test", "lq", "a right is one of the letters"),
    ):
        assert words in line(*share, mailbox, "--with", who, "--rights", rights, code=1).stderr


@pytest.mark.parametrize("purge", [["--purge"], []])
def test_an_address_given_to_somebody_else_has_no_rights_of_the_one_before(line: Line, purge: list[str]) -> None:
    for name in ("anna", "ben"):
        line("account", "add", f"{name}@example.test", stdin="secret\n")
    line("mailbox", "share", "anna@example.test", "INBOX", "--with", "ben@example.test", "--rights", "lr")
    line("mailbox", "share", "ben@example.test", "INBOX", "--with", "anna@example.test", "--rights", "lr")
    line("account", "remove", "ben@example.test", *purge)
    assert line.json("mailbox", "shares", "anna@example.test") == []
    line("account", "add", "ben@example.test", stdin="secret\n")
    assert line.json("mailbox", "shares", "ben@example.test") == []


def test_a_plugin_can_bring_operations(line: Line) -> None:
    (line.root / "echo.py").write_text(
        "from contextlib import asynccontextmanager\nfrom mailserver.api import Plugin, InvalidInput\n"
        "async def echo(arguments):\n"
        "    if 'word' not in arguments:\n        raise InvalidInput('a word is missing')\n"
        "    return {'word': arguments['word']}\n"
        "@asynccontextmanager\nasync def setup(registry, settings, host):\n"
        "    registry.operation('echo.word', echo)\n    registry.operation('domain.list', echo)\n    yield\n"
        "plugin = Plugin(name='echo', setup=setup)\n"
    )
    with line.config.open("a") as config:
        config.write('[plugins.echo]\nfile = "echo.py"\n')

    def ask(operation: str, arguments: dict[str, Any]) -> Any:
        with cli.make_context("mailserver", ["--config", str(line.config), "domain", "list"]):
            return perform(operation, arguments)

    assert ask("echo.word", {"word": "hey"}) == {"word": "hey"}
    with pytest.raises(Failed, match="a word is missing"):
        ask("echo.word", {})
    with pytest.raises(Failed, match=r"knows no command 'echo\.sentence'.*plugin"):
        ask("echo.sentence", {})
    assert ask("domain.list", {"word": "hey"})[0]["domain"] == "example.test"


def test_suppression(line: Line) -> None:
    line("account", "add", "anna@example.test", stdin="secret\n")
    assert line("suppression", "list").stdout == "no address is suppressed\n"
    added = line("suppression", "add", "Bob@far.test", "--account", "anna@example.test", "--reason", "asked for it")
    assert added.stdout == "anna@example.test: mail to bob@far.test is refused\n"
    (row,) = line.json("suppression", "list", "--account", "anna@example.test")
    assert (row["address"], row["source"], row["active"], row["until"]) == ("bob@far.test", "added", True, 0.0)
    shown = line("suppression", "list").stdout.splitlines()[1]
    assert "for good" in shown and shown.endswith("asked for it")
    assert line("suppression", "remove", "@far.test").stdout == "anna@example.test: mail to bob@far.test passes again\n"
    assert "bob@far.test is not on the list" in line("suppression", "remove", "bob@far.test", code=1).stderr
    assert "no account ben@example.test" in line("suppression", "list", "--account", "ben@example.test", code=1).stderr
    line("suppression", "add", "bob@far.test", code=2)
