"""Claws Mail, as a person uses it: new mail, rules that mark, copy, move and delete, reading, searching."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.mail import awkward
from tests.interop.claws_mail import ClawsMail
from tests.interop.programs import ANNA, append_all, needs

pytestmark = [pytest.mark.interop, needs("claws-mail", "Xvfb"), pytest.mark.timeout(180)]

RULES = {
    "starred": "mark",
    "known": "mark_as_read",
    "copied": 'copy "#imap/test/Archive"',
    "moved": 'move "#imap/test/Größe & mehr"',
    "unwanted": "delete",
}


def message(subject: str) -> bytes:
    return (
        f"From: Ben <ben@example.test>\r\nTo: {ANNA}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.test>\r\n"
        f"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\nThe text of {subject}.\r\n"
    ).encode()


def test_a_day_with_claws_mail(daemon: Daemon, home: Path) -> None:
    append_all(daemon, ANNA, "INBOX", awkward())
    append_all(daemon, ANNA, "Gr&APYA3w-e &- mehr", [message("old")])
    names = ("Archive", "Größe & mehr")
    count, unread = len(awkward()), (len(awkward()) + 1) // 2
    with (
        ClawsMail(home, daemon.ports["imap"], ANNA, PASSWORD, folders=names, rules=RULES) as claws,
        Imap(daemon.ports["imap"]) as other,
    ):
        other.login(ANNA, PASSWORD)
        claws.until({"INBOX": (unread, count), "Größe & mehr": (1, 1), "Archive": (0, 0)})

        # New mail, for which it has rules; what they do is there for others.
        for subject in RULES:
            other.append("INBOX", message(subject))
        claws.until({"INBOX": (unread + 2, count + 3), "Größe & mehr": (2, 2), "Archive": (1, 1), "Trash": (0, 0)})
        other.ok("SELECT INBOX")
        assert len(other.uids("SUBJECT starred FLAGGED")) == len(other.uids("SUBJECT known SEEN")) == 1
        assert other.uids("SUBJECT moved") == other.uids("SUBJECT unwanted") == []
        for mailbox, subject in (("Archive", "copied"), ("Gr&APYA3w-e &- mehr", "moved")):
            other.ok(f'SELECT "{mailbox}"')
            assert len(other.uids(f"SUBJECT {subject}")) == 1

        # What others do.
        other.ok("SELECT INBOX")
        other.ok("STORE 1:* +FLAGS (\\Seen)")
        other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")
        claws.until({"INBOX": (0, count + 2)})

        # It reads a message, and finds one.
        (uid,) = other.uids("SUBJECT copied")
        other.ok(f"UID STORE {uid} -FLAGS (\\Seen)")
        claws.until({"INBOX": (1, count + 2)})
        claws.ask("--select", f"#imap/test/INBOX/{uid}")
        claws.until({"INBOX": (0, count + 2)})
        assert other.uids("UNSEEN") == []
        assert str(uid) in claws.ask("--search", "#imap/test/INBOX", "subject", "copied")
        assert claws.end() == 0
        assert " BAD " not in claws.log and " NO " not in claws.log
