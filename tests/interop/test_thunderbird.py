"""Thunderbird, as a person uses it: folders, reading, flags, moving, new mail while it waits, drafts, deleting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.mail import awkward
from tests.interop.programs import ANNA, append_all, needs
from tests.interop.thunderbird import Thunderbird

pytestmark = [pytest.mark.interop, needs("thunderbird"), pytest.mark.timeout(180)]


@pytest.fixture
def thunderbird(home: Path) -> Iterator[Thunderbird]:
    with Thunderbird(home) as program:
        yield program


def message(subject: str) -> bytes:
    return (
        f"From: Ben <ben@example.test>\r\nTo: {ANNA}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.test>\r\n"
        f"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\nThe text of {subject}.\r\n"
    ).encode()


def test_a_day_with_thunderbird(daemon: Daemon, thunderbird: Thunderbird) -> None:
    append_all(daemon, ANNA, "INBOX", [message(f"m{number}") for number in range(5)])
    thunderbird.add_account(daemon.ports["imap"], ANNA, PASSWORD)
    names = thunderbird.run("return [...server().rootFolder.descendants].map(f => f.name)")
    assert {"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"} <= set(names)

    # It reads the list, then a message.
    subjects = thunderbird.run(
        """
        await open("INBOX");
        await until(() => folder("INBOX").getTotalMessages(false) == 5);
        return [...folder("INBOX").messages].map(m => m.mime2DecodedSubject).sort();
        """
    )
    assert subjects == ["m0", "m1", "m2", "m3", "m4"]
    assert "The text of m2." in thunderbird.run(
        """
        const uri = folder("INBOX").getUriForMsg(find("INBOX", "m2"));
        const stream = Cc["@mozilla.org/network/sync-stream-listener;1"].createInstance(Ci.nsISyncStreamListener);
        MailServices.messageServiceFromURI(uri).streamMessage(uri, stream, null, null, false, "", false);
        const input = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
        input.init(stream.inputStream);
        let text = "";
        while (input.available()) text += input.read(input.available());
        return text;
        """
    )

    with Imap(daemon.ports["imap"]) as other:
        other.login(ANNA, PASSWORD)
        # Flags go both ways; moving is MOVE; the new folder is there for others.
        thunderbird.run(
            """
            folder("INBOX").markMessagesRead([find("INBOX", "m0")], true);
            folder("INBOX").markMessagesFlagged([find("INBOX", "m1")], true);
            folder("INBOX").addKeywordsToMessages([find("INBOX", "m1")], "$label1");
            server().rootFolder.createSubfolder("Größe & mehr", null);
            if (!await until(() => folder("Größe & mehr"))) throw new Error("no new folder");
            const status = await copy(listener => MailServices.copy.copyMessages(
              folder("INBOX"), [find("INBOX", "m3")], folder("Größe & mehr"), true, listener, null, false));
            if (status) throw new Error("move: " + status);
            await until(() => !find("INBOX", "m3"));
            """
        )
        other.ok('SELECT "Gr&APYA3w-e &- mehr"')
        assert len(other.uids("SUBJECT m3")) == 1
        other.ok("SELECT INBOX")
        assert len(other.uids("SUBJECT m3")) == 0
        assert len(other.uids("SUBJECT m0 SEEN")) == 1
        assert len(other.uids("SUBJECT m1 FLAGGED KEYWORD $label1")) == 1

        # New mail and changes of others reach it while it waits in IDLE.
        other.append("INBOX", message("later"))
        other.ok(f"UID STORE {other.uids('SUBJECT m4')[0]} +FLAGS (\\Seen \\Flagged)")
        assert thunderbird.run(
            """
            await until(() => find("INBOX", "later"));
            await until(() => find("INBOX", "m4").isRead && find("INBOX", "m4").isFlagged);
            return [!!find("INBOX", "later"), find("INBOX", "m4").isRead, find("INBOX", "m4").isFlagged];
            """
        ) == [True, True, True]  # fmt: skip
        other.ok(f"UID STORE {other.uids('SUBJECT m2')[0]} +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")
        # Between two commands it may take note of an EXPUNGE only when the folder is opened the next time.
        assert thunderbird.run(
            """
            const gone = () => !find("INBOX", "m2");
            return await until(gone) || (await open("INBOX"), await until(gone));
            """
        )

        # A file goes into Drafts, a message into the bin and out of it for good.
        thunderbird.run(
            """
            const file = Services.dirsvc.get("TmpD", Ci.nsIFile);
            file.append("mailserver-draft.eml");
            file.createUnique(Ci.nsIFile.NORMAL_FILE_TYPE, 0o600);
            await IOUtils.writeUTF8(file.path, args[0]);
            const status = await copy(listener => MailServices.copy.copyFileMessage(
              file, folder("Drafts"), null, false, 0, "", listener, null));
            await IOUtils.remove(file.path);
            if (status) throw new Error("draft: " + status);
            folder("INBOX").deleteMessages([find("INBOX", "m4")], null, false, false, null, false);
            await until(() => !find("INBOX", "m4"));
            await open("Trash");
            await until(() => find("Trash", "m4"));
            folder("Trash").deleteMessages([find("Trash", "m4")], null, true, false, null, false);
            await until(() => !find("Trash", "m4"));
            await url(listener => folder("Trash").compact(listener, null));
            """,
            message("draft").decode(),
        )
        other.ok("SELECT Drafts")
        assert len(other.uids("SUBJECT draft")) == 1
        other.ok("SELECT Trash")
        assert other.uids() == []


def test_awkward_messages_in_thunderbird(daemon: Daemon, thunderbird: Thunderbird) -> None:
    append_all(daemon, ANNA, "INBOX", awkward())
    thunderbird.add_account(daemon.ports["imap"], ANNA, PASSWORD)
    count = len(awkward())
    assert thunderbird.run(
        """
        await open("INBOX");
        await until(() => folder("INBOX").getTotalMessages(false) == args[0]);
        await url(listener => folder("INBOX").downloadAllForOffline(listener, null));
        await until(() => [...folder("INBOX").messages].every(m => m.flags & Ci.nsMsgMessageFlags.Offline));
        return [...folder("INBOX").messages].filter(m => m.flags & Ci.nsMsgMessageFlags.Offline).length;
        """,
        count,
    ) == count  # fmt: skip
