"""Programs that fetch mail from IMAP: getmail, fetchmail, imapfilter."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.mail import awkward, fingerprint, in_maildir
from tests.interop.programs import ANNA, needs, run

pytestmark = [pytest.mark.interop]

_NOBODY = 65534


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home that a user without rights can reach, as pytest's own directories are not."""
    path = Path(tempfile.mkdtemp(prefix="mailserver-test-"))
    yield path
    shutil.rmtree(path)


@needs("getmail")
def test_getmail(seeded: Daemon, open_home: Path) -> None:
    home = open_home
    for sub in ("new", "cur", "tmp"):
        (home / "mail" / sub).mkdir(parents=True)
    (home / "getmailrc").write_text(
        f"""[retriever]
type = SimpleIMAPRetriever
server = 127.0.0.1
port = {seeded.ports["imap"]}
username = {ANNA}
password = {PASSWORD}
[destination]
type = Maildir
path = {home}/mail/
[options]
read_all = true
delivered_to = false
received = false
"""
    )
    command: list[str | Path] = ["getmail", "--getmaildir", home, "--rcfile", "getmailrc"]
    if os.geteuid() == 0:
        # getmail refuses to run as root.
        if shutil.which("setpriv") is None:
            pytest.skip("getmail refuses to run as root, and setpriv is not installed")
        for path in (home, *home.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY)
        command = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *command]
    done = run(command, home)
    assert done.code == 0, done.output
    assert in_maildir(home / "mail") == sorted(map(fingerprint, awkward()))


@needs("fetchmail")
def test_fetchmail(seeded: Daemon, home: Path) -> None:
    (home / "got").mkdir()
    deliver = home / "deliver"
    deliver.write_text(f'#!/bin/sh\ncat > "$(mktemp {home}/got/XXXXXXXX)"\n')
    deliver.chmod(0o700)
    config = home / ".fetchmailrc"
    config.write_text(
        f'set no bouncemail\npoll 127.0.0.1 service {seeded.ports["imap"]} proto IMAP auth password user "{ANNA}"'
        f' password "{PASSWORD}" sslproto "" fetchall keep no rewrite mda "{deliver}"\n'
    )
    config.chmod(0o600)
    done = run(["fetchmail", "--nodetach", "--invisible"], home)
    assert done.code == 0, done.output
    got = sorted(fingerprint(path.read_bytes()) for path in (home / "got").iterdir())
    assert got == sorted(map(fingerprint, awkward()))


@needs("imapfilter")
def test_imapfilter(seeded: Daemon, home: Path) -> None:
    script = home / "filter.lua"
    script.write_text(
        f"""options.timeout = 60
options.starttls = false
a = IMAP {{ server = "127.0.0.1", port = {seeded.ports["imap"]}, username = "{ANNA}", password = "{PASSWORD}" }}
found = a.INBOX:contain_subject("dots")
print("found=" .. #found)
a:create_mailbox("Filtered")
found:copy_messages(a["Filtered"])
print("copied=" .. #(a["Filtered"]:select_all()))
a.INBOX:contain_subject("plain"):mark_flagged()
a.INBOX:contain_subject("big"):move_messages(a["Work/Sub one"])
a["Filtered"]:select_all():delete_messages()
a:delete_mailbox("Filtered")
"""
    )
    done = run(["imapfilter", "-c", script], home)
    assert done.code == 0, done.output
    assert "found=1" in done.output and "copied=1" in done.output
    with Imap(seeded.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        imap.ok("SELECT INBOX")
        assert len(imap.uids("FLAGGED")) == 1
        assert len(imap.uids()) == len(awkward()) - 1
        imap.ok('SELECT "Work/Sub one"')
        assert len(imap.uids()) == 4
        assert imap.command("SELECT Filtered").status == "NO"
