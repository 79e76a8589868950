"""Python's own clients and two from PyPI."""

from __future__ import annotations

import asyncio
import datetime
import imaplib
import smtplib
from email.message import EmailMessage

import aioimaplib
import imapclient
import pytest

from tests.helpers.certs import Certificates
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.mail import awkward, fingerprint
from tests.interop.programs import ANNA, sole_message

pytestmark = [pytest.mark.interop]

MESSAGE = b"Subject: %b\r\nMessage-ID: <%b@x>\r\n\r\nhello\r\n"


def test_imaplib(daemon: Daemon) -> None:
    with imaplib.IMAP4("127.0.0.1", daemon.ports["imap"]) as imap:
        use_imaplib(imap)


def use_imaplib(imap: imaplib.IMAP4) -> None:
    imap.login(ANNA, PASSWORD)
    assert imap.create('"A folder"')[0] == "OK"
    date = imaplib.Time2Internaldate(datetime.datetime(2026, 11, 20, 10, 0, 0, tzinfo=datetime.UTC))
    for message in awkward():
        assert imap.append('"A folder"', "(\\Seen)", date, message)[0] == "OK"
    assert imap.select('"A folder"') == ("OK", [str(len(awkward())).encode()])
    assert imap.search(None, "SUBJECT", "dots") == ("OK", [b"3"])
    typ, data = imap.fetch("1:*", "(UID INTERNALDATE BODY.PEEK[])")
    assert typ == "OK"
    assert [part[1] for part in data if isinstance(part, tuple)] == awkward()
    assert isinstance(data[0], tuple)
    assert b'INTERNALDATE "20-Nov-2026 10:00:00 +0000"' in data[0][0]
    assert imap.store("1:2", "+FLAGS", "(\\Deleted $Label1)")[0] == "OK"
    assert imap.copy("3", "INBOX")[0] == "OK"
    assert imap.expunge() in [("OK", [b"1", b"1"]), ("OK", [b"2", b"1"])]
    assert imap.uid("SEARCH", "ALL")[1][0].split()[0] == b"3"
    assert b"(MESSAGES 1 UNSEEN 0)" in imap.status("INBOX", "(MESSAGES UNSEEN)")[1][0]
    assert imap.close()[0] == "OK"
    assert imap.rename('"A folder"', '"B folder"')[0] == "OK"
    assert imap.delete('"B folder"')[0] == "OK"


def test_imaplib_with_tls(daemon: Daemon, certificates: Certificates) -> None:
    context = certificates.client_context()
    with imaplib.IMAP4_SSL("localhost", daemon.ports["imaps"], ssl_context=context) as imap:
        imap.authenticate("PLAIN", lambda _: f"\0{ANNA}\0{PASSWORD}".encode())
        imap.enable("UTF8=ACCEPT")
        assert imap.select("INBOX")[0] == "OK"
    with imaplib.IMAP4("localhost", daemon.ports["imap"]) as imap:
        imap.starttls(context)
        imap.login(ANNA, PASSWORD)
        assert imap.namespace()[0] == "OK"


def test_smtplib(daemon: Daemon, certificates: Certificates) -> None:
    context = certificates.client_context()
    for tls in ("no", "starttls", "implicit"):
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = ANNA, ANNA, "Grüße"
        message["Message-ID"] = f"<smtplib-{tls}@x>"
        message.set_content("Grüße\n.\n..\n", cte="8bit")
        smtp: smtplib.SMTP
        if tls == "implicit":
            smtp = smtplib.SMTP_SSL("localhost", daemon.ports["submissions"], context=context)
        else:
            smtp = smtplib.SMTP("localhost", daemon.ports["submission"])
        with smtp:
            if tls == "starttls":
                smtp.starttls(context=context)
            smtp.login(ANNA, PASSWORD)
            assert smtp.send_message(message) == {}
        assert sole_message(daemon, ANNA, f"<smtplib-{tls}@x>").endswith("Grüße\r\n.\r\n..\r\n".encode())
    with smtplib.SMTP("localhost", daemon.ports["smtp"]) as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail("s@sender.test", ["x@elsewhere.test"], MESSAGE % (b"no", b"no"))
        refused = smtp.sendmail("s@sender.test", [ANNA, f"nobody@{ANNA.split('@')[1]}"], MESSAGE % (b"in", b"in"))
        assert [code for code, _ in refused.values()] == [550]


def test_smtplib_utf8(daemon: Daemon) -> None:
    with smtplib.SMTP("localhost", daemon.ports["smtp"]) as smtp:
        smtp.sendmail("grüße@sender.test", [ANNA], MESSAGE % (b"u", b"u8"), ["SMTPUTF8", "BODY=8BITMIME"])
    assert sole_message(daemon, ANNA, "<u8@x>").startswith("Return-Path: <grüße@sender.test>\r\n".encode())


def test_imapclient(seeded: Daemon, certificates: Certificates) -> None:
    port, context = seeded.ports["imaps"], certificates.client_context()
    with imapclient.IMAPClient("localhost", port, ssl=True, ssl_context=context) as imap:
        imap.login(ANNA, PASSWORD)
        assert imap.has_capability("IMAP4REV1") and imap.has_capability("UIDPLUS")
        names = {name for _, _, name in imap.list_folders()}
        assert {"INBOX", "Work/Sub one", "A & B", "Grüße", "日本語", "Br[a]ck (et)"} <= names
        assert {name for _, _, name in imap.list_sub_folders()} >= {"Grüße", "日本語"}
        info = imap.select_folder("INBOX")
        assert info[b"EXISTS"] == len(awkward())
        items = ["BODY.PEEK[]", "ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE", "INTERNALDATE"]
        fetched = imap.fetch(imap.search("ALL"), items)
        got = [data[b"BODY[]"] for _, data in sorted(fetched.items())]
        assert got == awkward()
        assert all(data[b"RFC822.SIZE"] == len(data[b"BODY[]"]) for data in fetched.values())
        envelope = fetched[imap.search(["SUBJECT", "dots"])[0]][b"ENVELOPE"]
        assert (envelope.subject, envelope.from_[0].mailbox) == (b"dots", b"a")
        assert envelope.message_id == b"<awkward-2@b.test>"
        first = imap.search("ALL")[0]
        imap.set_flags(first, [b"\\Flagged", b"custom"])
        assert set(imap.get_flags(first)[first]) - {b"\\Recent"} == {b"\\Flagged", b"custom"}
        answer = imap.append("Drafts", MESSAGE % (b"d", b"d"), [b"\\Draft"])
        assert b"APPENDUID" in answer
        imap.move([first], "Trash")
        assert first not in imap.search("ALL")
        assert imap.folder_status("Trash")[b"MESSAGES"] == 1
        imap.create_folder("新しい/フォルダ")
        imap.rename_folder("新しい", "古い")
        assert imap.folder_exists("古い/フォルダ")
        assert imap.get_quota_root("INBOX")[0].mailbox == "INBOX"


def test_imapclient_idle(daemon: Daemon) -> None:
    with imapclient.IMAPClient("localhost", daemon.ports["imap"], ssl=False) as imap:
        imap.login(ANNA, PASSWORD)
        imap.select_folder("INBOX")
        imap.idle()
        with smtplib.SMTP("localhost", daemon.ports["smtp"]) as smtp:
            smtp.sendmail("s@sender.test", [ANNA], MESSAGE % (b"idle", b"idle"))
        assert (1, b"EXISTS") in imap.idle_check(timeout=20)
        imap.idle_done()
        assert len(imap.search("UNSEEN")) == 1


async def test_aioimaplib(daemon: Daemon) -> None:
    imap = aioimaplib.IMAP4("127.0.0.1", daemon.ports["imap"], timeout=20)
    await imap.wait_hello_from_server()
    await imap.login(ANNA, PASSWORD)
    assert (await imap.select("INBOX")).result == "OK"
    idle = await imap.idle_start(timeout=20)
    await asyncio.to_thread(send_one, daemon)
    pushed = await imap.wait_server_push(timeout=20)
    assert b"1 EXISTS" in pushed
    imap.idle_done()
    await asyncio.wait_for(idle, 20)
    fetched = await imap.uid("fetch", "1:*", "(UID RFC822.SIZE BODY.PEEK[])")
    assert fetched.result == "OK"
    assert any(fingerprint(bytes(line)) == fingerprint(MESSAGE % (b"aio", b"aio")) for line in fetched.lines)
    assert (await imap.uid("store", "1:*", "+FLAGS", "(\\Deleted)")).result == "OK"
    assert (await imap.expunge()).result == "OK"
    assert (await imap.append(MESSAGE % (b"b", b"b"), "Drafts")).result == "OK"
    await imap.logout()
    # It leaves that to the end of the connection, which may come after that of the loop.
    imap.protocol.transport.close()
    await asyncio.sleep(0)


def send_one(daemon: Daemon) -> None:
    with smtplib.SMTP("localhost", daemon.ports["smtp"]) as smtp:
        smtp.sendmail("s@sender.test", [ANNA], MESSAGE % (b"aio", b"aio"))
