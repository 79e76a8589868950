"""Real Dovecot reads our Maildir, and we take over one that real Dovecot wrote: UIDs, flags, subscriptions kept."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.mail import awkward
from tests.interop.dovecot import Dovecot, needs_dovecot
from tests.interop.programs import ANNA, FOLDERS, append_all

pytestmark = [pytest.mark.interop, needs_dovecot]

_OWNER = 65534


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Short, and reachable for Dovecot's users."""
    path = Path(tempfile.mkdtemp(prefix="mailserver-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a client sees of a mailbox: UIDVALIDITY; per UID the flags, the date and the message."""

    uid_validity: str | None
    messages: dict[int, tuple[frozenset[bytes], bytes, bytes]]


def everything(imap: Imap) -> tuple[dict[str, Seen], set[bytes]]:
    """Every selectable mailbox, and the subscribed names."""
    boxes = {}
    for line in imap.ok('LIST "" "*"').only("LIST"):
        match = re.fullmatch(rb'\* LIST \(([^)]*)\) (?:"."|NIL) (?:"([^"]*)"|(\S+))', line)
        assert match is not None, line
        name = (match[2] or match[3] or b"").decode()
        if b"\\noselect" in match[1].lower() or b"\\nonexistent" in match[1].lower():
            continue
        response = imap.ok(f'EXAMINE "{name}"')
        found = {}
        if imap.uids():
            bodies = imap.bodies()
            for answer in imap.ok("UID FETCH 1:* (UID FLAGS INTERNALDATE)").only("FETCH"):
                uid = re.search(rb"UID ([0-9]+)", answer)
                flags = re.search(rb"FLAGS \(([^)]*)\)", answer)
                date = re.search(rb'INTERNALDATE "([^"]*)"', answer)
                assert uid and flags and date, answer
                kept = frozenset(flags[1].split()) - {b"\\Recent"}
                found[int(uid[1])] = (kept, date[1], bodies[int(uid[1])])
        boxes[name] = Seen(response.code("UIDVALIDITY"), found)
    subscribed = {line.rpartition(b'"/" ')[2].strip(b'"') for line in imap.ok('LSUB "" "*"').only("LSUB")}
    return boxes, subscribed


def fill(imap: Imap) -> None:
    """Mail with gaps between UIDs, system flags, keywords, dates, subscriptions (one of nothing)."""
    for folder in FOLDERS:
        imap.ok(f'CREATE "{folder}"')
    for folder in ("INBOX", *FOLDERS):
        for number, message in enumerate(awkward()):
            imap.ok(f'APPEND "{folder}" () "2{number % 9}-Nov-2025 10:00:0{number % 9} +0000" {{}}', message)
        imap.ok(f'SELECT "{folder}"')
        uids = imap.uids()
        imap.ok(f"UID STORE {uids[0]} +FLAGS (\\Seen \\Flagged $Forwarded)")
        imap.ok(f"UID STORE {uids[1]} +FLAGS (\\Answered \\Draft NonJunk Custom)")
        imap.ok(f"UID STORE {uids[2]},{uids[-1]} +FLAGS (\\Deleted)")
        imap.ok("EXPUNGE")
        imap.append(folder, b"Subject: after the gap\r\n\r\nx\r\n", "(NonJunk)")
        imap.ok("UNSELECT")
    for folder in ("INBOX", "Work", "Gr&APwA3w-e", "Gone"):
        imap.command(f'SUBSCRIBE "{folder}"')


def give_away(path: Path, owner: int) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, owner, owner, follow_symlinks=False)


def test_what_dovecot_wrote_is_adopted(open_directory: Path, daemon: Daemon) -> None:
    """No client downloads anything again: UIDVALIDITY and every UID stay."""
    maildir = open_directory / "Maildir"
    maildir.mkdir()
    give_away(maildir, _OWNER)
    with Dovecot(open_directory, maildir, _OWNER) as dovecot, dovecot.imap() as imap:
        fill(imap)
        before, subscribed = everything(imap)
    account = f"dora@{DOMAIN}"
    daemon.stop()
    give_away(maildir, os.geteuid())
    daemon.add_account(account)
    home = daemon.data / DOMAIN / "dora"
    if home.exists():
        shutil.rmtree(home)
    shutil.move(maildir, home)
    daemon.command("mailbox", "adopt", account)
    daemon.start()
    daemon.command("mailbox", "verify", account)
    for _ in range(2):
        with Imap(daemon.ports["imap"]) as imap:
            imap.login(account, PASSWORD)
            after, still = everything(imap)
        for name, box in before.items():
            assert after[name] == box, name
        assert subscribed <= still
        daemon.kill9()
        daemon.start()


def test_dovecot_serves_what_we_wrote(open_directory: Path, daemon: Daemon) -> None:
    """After `mailbox export --dovecot` with the same UIDs, keywords and subscriptions."""
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        fill(imap)
        before, subscribed = everything(imap)
    daemon.stop()
    daemon.command("mailbox", "export", "--dovecot", ANNA)
    maildir = open_directory / "Maildir"
    shutil.copytree(daemon.data / DOMAIN / "anna", maildir)
    give_away(maildir, _OWNER)
    with Dovecot(open_directory, maildir, _OWNER) as dovecot:
        with dovecot.imap() as imap:
            after, still = everything(imap)
        for name, box in before.items():
            assert after[name] == box, f"{name}\n{dovecot.log()}"
        assert subscribed - {b"Gone"} <= still


def test_dovecot_serves_our_maildir_as_it_is(open_directory: Path, daemon: Daemon) -> None:
    """Without any export: the mail, the folders and the system flags; UIDs are then Dovecot's own."""
    append_all(daemon, ANNA, "INBOX", awkward())
    append_all(daemon, ANNA, "Work", awkward()[:3])
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        before, _ = everything(imap)
    daemon.stop()
    maildir = open_directory / "Maildir"
    shutil.copytree(daemon.data / DOMAIN / "anna", maildir)
    give_away(maildir, _OWNER)
    with Dovecot(open_directory, maildir, _OWNER) as dovecot, dovecot.imap() as imap:
        after, _ = everything(imap)
    for name in ("INBOX", "Work"):
        assert list(after[name].messages.values()) == list(before[name].messages.values())
