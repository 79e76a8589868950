"""Evolution, by its mail library Camel: folders, reading, flags, moving, new mail while it waits, QRESYNC, TLS."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.certs import Certificates
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.mail import awkward
from tests.interop.evolution import Evolution, Failed, Known, needs_evolution
from tests.interop.programs import ANNA, append_all, sole_message

pytestmark = [pytest.mark.interop, needs_evolution(), pytest.mark.timeout(180)]

BEN, CLEO = "ben@example.test", "cleo@example.test"
#: What it uses of ours, and what it does without: names in UTF-7, no NOTIFY, COPY and EXPUNGE for MOVE, no QRESYNC.
RICH, POOR = "all that we offer", "an IMAP4rev1 of 2003"
_ANCIENT = (
    "IMAP4REV2", "UTF8", "NOTIFY", "MOVE", "UIDPLUS", "CONDSTORE", "QRESYNC", "LIST-EXTENDED", "LIST-STATUS",
    "SPECIAL-USE", "NAMESPACE", "LITERAL+", "SASL-IR", "ENABLE", "ID",
)  # fmt: skip


@pytest.fixture
def evolution(home: Path) -> Iterator[Evolution]:
    with Evolution(home) as program:
        yield program


def message(subject: str) -> bytes:
    return (
        f"From: Ben <ben@example.test>\r\nTo: {ANNA}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.test>\r\n"
        f"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\nThe text of {subject}.\r\n"
    ).encode()


def subjects(known: list[Known]) -> list[str]:
    return [one.subject for one in known]


@pytest.fixture(params=[RICH, POOR])
def server(request: pytest.FixtureRequest, make_daemon: DaemonMaker) -> Iterator[Daemon]:
    names = ", ".join(f'"{name}"' for name in (_ANCIENT if request.param == POOR else ()))
    with make_daemon(settings={"imap": f"disabled_capabilities = [{names}]"}) as running:
        yield running


def test_a_day_with_evolution(server: Daemon, evolution: Evolution) -> None:
    append_all(server, ANNA, "INBOX", [message(f"m{number}") for number in range(5)])
    evolution.connect(server.ports["imap"], ANNA, PASSWORD, use_qresync=True)
    assert {"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"} <= set(evolution.folders())

    # It reads the list, then a message; both know which were read before.
    known = evolution.refresh("INBOX")
    assert subjects(known) == ["m0", "m1", "m2", "m3", "m4"]
    assert [one.subject for one in known if "seen" in one.flags] == ["m1", "m3"]
    assert evolution.parts("INBOX", known[2].uid) == [("text/plain", None, b"The text of m2.\n")]
    assert evolution.count("INBOX", '(match-all (body-contains "text of m3"))') == 1

    with Imap(server.ports["imap"]) as other:
        other.login(ANNA, PASSWORD)
        # What it does is there for others: flags and keywords, a new folder, a copy, a move, a draft.
        evolution.flag("INBOX", known[0].uid, seen=True, flagged=True, keywords={"$Labelimportant": True})
        evolution.flag("INBOX", known[1].uid, seen=False, answered=True)
        evolution.create("Größe & mehr")
        evolution.transfer("INBOX", [known[2].uid], "Größe & mehr", move=False)
        evolution.transfer("INBOX", [known[3].uid], "Größe & mehr", move=True)
        assert evolution.append("Drafts", message("draft"), "draft", "seen")
        other.ok("SELECT INBOX")
        assert len(other.uids("SUBJECT m0 SEEN FLAGGED KEYWORD $Labelimportant")) == 1
        assert len(other.uids("SUBJECT m1 UNSEEN ANSWERED")) == 1
        evolution.expunge("INBOX")
        assert other.uids("SUBJECT m3") == []
        other.ok('SELECT "Gr&APYA3w-e &- mehr"')
        assert len(other.uids("SUBJECT m2")) == len(other.uids("SUBJECT m3")) == 1
        other.ok("SELECT Drafts")
        assert len(other.uids("SUBJECT draft DRAFT SEEN")) == 1
        assert subjects(evolution.refresh("Größe & mehr")) == ["m2", "m3"]

        # What others do it sees when it looks.
        other.ok("SELECT INBOX")
        other.ok(f"UID STORE {known[4].uid} +FLAGS (\\Flagged \\Answered project)")
        other.ok(f"UID STORE {known[0].uid} -FLAGS (\\Flagged $Labelimportant)")
        other.ok(f"UID STORE {known[2].uid} +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")
        other.append("INBOX", message("later"))
        assert subjects(evolution.refresh("INBOX")) == ["m0", "m1", "m4", "later"]
        assert evolution.find("INBOX", "m0").flags == {"seen"} and not evolution.find("INBOX", "m0").keywords
        assert evolution.find("INBOX", "m4").flags == {"flagged", "answered"}
        assert evolution.find("INBOX", "m4").keywords == {"project"}

        # It marks what is to go, and removes it for good.
        evolution.flag("INBOX", known[4].uid, deleted=True)
        evolution.expunge("INBOX")
        assert subjects(evolution.messages("INBOX")) == ["m0", "m1", "later"]
        assert other.uids() == [int(one.uid) for one in evolution.messages("INBOX")]


def test_folders(server: Daemon, evolution: Evolution) -> None:
    with Imap(server.ports["imap"]) as other:
        other.login(ANNA, PASSWORD)
        for name in ("Work/Sub one", "A &- B", "Gr&APwA3w-e", "&ZeVnLIqe-", "Br[a]ck (et)"):
            other.ok(f'CREATE "{name}"')
        evolution.connect(server.ports["imap"], ANNA, PASSWORD)
        names = {"Work", "Work/Sub one", "A & B", "Grüße", "日本語", "Br[a]ck (et)"}
        assert names <= set(evolution.folders())
        evolution.create("neu & schön", parent="日本語")
        evolution.append("日本語/neu & schön", message("inside"))
        evolution.rename("日本語", "言葉")
        evolution.subscribe("言葉/neu & schön")
        evolution.delete("Br[a]ck (et)")
        with pytest.raises(Failed, match="exists already"):
            evolution.create("Grüße")
        assert set(evolution.folders()) >= names - {"日本語", "Br[a]ck (et)"} | {"言葉", "言葉/neu & schön"}
        assert not {"日本語", "Br[a]ck (et)"} & set(evolution.folders())
        other.ok('SELECT "&igCESQ-/neu &- sch&APY-n"')
        assert len(other.uids("SUBJECT inside")) == 1
        assert any(b"&igCESQ-/neu &- sch&APY-n" in line for line in other.ok('LSUB "" "*"').untagged)


def test_what_a_new_account_is_set_to(shared_daemon: Daemon, evolution: Evolution) -> None:
    evolution.connect(shared_daemon.ports["imap"], ANNA, PASSWORD)
    chosen = {name.split(":")[-2]: value for name, value in evolution.setup().items()}
    folders = ("archive-folder", "drafts-folder", "real-junk-path", "sent-folder", "real-trash-path")
    assert [chosen[name] for name in folders] == ["Archive", "Drafts", "Junk", "Sent", "Trash"]


def test_awkward_messages_in_evolution(shared_daemon: Daemon, evolution: Evolution) -> None:
    picture = EmailMessage()
    picture["Subject"] = "ein Bild: 図"
    picture.set_content("Text, grün")
    picture.add_alternative("<p>HTML, grün</p>", subtype="html")
    picture.add_attachment(bytes(range(256)) * 100, maintype="image", subtype="png", filename="Grüße 図.png")
    append_all(shared_daemon, CLEO, "INBOX", [*awkward(), picture.as_bytes()])
    evolution.connect(shared_daemon.ports["imap"], CLEO, PASSWORD)
    known = evolution.refresh("INBOX")
    assert len(known) == len(awkward()) + 1
    parts = {one.subject: evolution.parts("INBOX", one.uid) for one in known}
    assert parts["plain"] == [("text/plain", None, b"hello\n")]
    assert parts["no body"] == [("text/plain", None, b"")]
    assert parts["dots"] == [("text/plain", None, b".\n..\n.x\n")]
    assert parts["grüße"] == [("text/plain", None, "grüße €\n".encode())]
    assert parts["folded subject"] == [("text/plain", None, b"\n\nblank lines first\n")]
    assert parts["parts"] == [("text/plain", None, b"in"), ("application/octet-stream", "€.bin", b"\0\1\2")]
    assert parts["big"] == [("text/plain", None, b"0123456789abcdef\n" * 20_000)]
    text, html, image = parts["ein Bild: 図"]
    assert text == ("text/plain", None, "Text, grün\n".encode())
    assert html == ("text/html", None, "<p>HTML, grün</p>\n".encode())
    assert image == ("image/png", "Grüße 図.png", bytes(range(256)) * 100)
    assert {one.subject for one in known if "attachments" in one.flags} == {"parts", "ein Bild: 図"}
    assert "Unable" not in evolution.dialogue


def test_what_others_do_while_it_waits(server: Daemon, evolution: Evolution) -> None:
    """In IDLE, with NOTIFY and VANISHED or without."""
    append_all(server, ANNA, "INBOX", [message("m0"), message("m1")])
    evolution.connect(server.ports["imap"], ANNA, PASSWORD, use_qresync=True)
    evolution.refresh("INBOX")
    with Imap(server.ports["imap"]) as other:
        other.login(ANNA, PASSWORD)
        evolution.idle()
        other.append("INBOX", message("later"))
        evolution.until("INBOX", lambda known: subjects(known) == ["m0", "m1", "later"])
        other.ok("SELECT INBOX")
        evolution.idle()
        other.ok("STORE 1 +FLAGS (\\Flagged project)")
        evolution.until("INBOX", lambda known: known[0].flags == {"flagged"} and known[0].keywords == {"project"})
        evolution.idle()
        other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")
        evolution.until("INBOX", lambda known: subjects(known) == ["m0", "later"])


def test_it_comes_back_with_qresync(daemon: Daemon, home: Path) -> None:
    append_all(daemon, ANNA, "INBOX", [message(f"m{number}") for number in range(6)])
    with Evolution(home) as evolution:
        evolution.connect(daemon.ports["imap"], ANNA, PASSWORD, use_qresync=True)
        evolution.refresh("INBOX")
        evolution.disconnect()
    with Imap(daemon.ports["imap"]) as other:
        other.login(ANNA, PASSWORD)
        other.ok("SELECT INBOX")
        other.ok("STORE 2 +FLAGS.SILENT (\\Flagged)")
        other.ok("STORE 1,4 +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")
        other.append("INBOX", message("later"))
    with Evolution(home) as evolution:
        evolution.connect(daemon.ports["imap"], ANNA, PASSWORD, use_qresync=True)
        assert "Archive" in evolution.folders()
        # The mailbox that it selects before it looks for what it keeps of it is INBOX, so it must leave it once.
        evolution.refresh("Archive")
        known = evolution.refresh("INBOX")
        assert subjects(known) == ["m1", "m2", "m4", "m5", "later"]
        assert known[0].flags == {"seen", "flagged"}
        # It said what it knew, and was told what happened since.
        assert "SELECT INBOX (QRESYNC (" in evolution.dialogue
        assert "* VANISHED (EARLIER) 1,4" in evolution.dialogue


@pytest.mark.parametrize("security", ["STARTTLS_ON_STANDARD_PORT", "SSL_ON_ALTERNATE_PORT"])
def test_tls(
    shared_daemon: Daemon, evolution: Evolution, certificates: Certificates, tmp_path: Path, security: str
) -> None:
    port = shared_daemon.ports["imap" if security.startswith("STARTTLS") else "imaps"]
    with pytest.raises(Failed):
        evolution.connect(port, ANNA, PASSWORD, security=security)
    assert "unknown-ca" in evolution.dialogue
    (tmp_path / "again").mkdir()
    with Evolution(tmp_path / "again") as another:
        another.trust(certificates.ca_file)
        another.connect(port, ANNA, PASSWORD, security=security)
        assert "INBOX" in another.folders()
        assert "not trusted" not in another.dialogue


def test_a_wrong_password(shared_daemon: Daemon, evolution: Evolution) -> None:
    with pytest.raises(Failed, match="password"):
        evolution.connect(shared_daemon.ports["imap"], ANNA, "wrong")


@pytest.mark.parametrize("security", ["STARTTLS_ON_STANDARD_PORT", "SSL_ON_ALTERNATE_PORT"])
def test_send(shared_daemon: Daemon, evolution: Evolution, certificates: Certificates, security: str) -> None:
    port = shared_daemon.ports["submission" if security.startswith("STARTTLS") else "submissions"]
    evolution.trust(certificates.ca_file)
    content = f"From: {ANNA}\r\nTo: {BEN}\r\nSubject: gr\r\nMessage-ID: <{security}@x.test>\r\n\r\n.dot\r\n".encode()
    evolution.send(port, ANNA, PASSWORD, BEN, content, security=security)
    assert b"\r\n\r\n.dot\r\n" in sole_message(shared_daemon, BEN, f"<{security}@x.test>")


def test_a_folder_that_somebody_shares(daemon: Daemon, evolution: Evolution) -> None:
    append_all(daemon, BEN, "Plans", [message("plan")])
    with Imap(daemon.ports["imap"]) as ben:
        ben.login(BEN, PASSWORD)
        ben.ok(f"SETACL Plans {ANNA} lrs")
    evolution.connect(daemon.ports["imap"], ANNA, PASSWORD)
    name = f"Other Users/{BEN}/Plans"
    # Of others it shows what is subscribed.
    assert name not in evolution.folders()
    evolution.subscribe(name)
    assert name in evolution.folders()
    (known,) = evolution.refresh(name)
    assert evolution.parts(name, known.uid)[0][2] == b"The text of plan.\n"
    with pytest.raises(Failed):
        evolution.append(name, message("not allowed"))
