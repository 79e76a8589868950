"""Client libraries as people use them: imaplib, IMAPClient, aioimaplib."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import imaplib
from collections.abc import Callable
from typing import Any

import aioimaplib
import pytest
from imapclient import IMAPClient

from mailserver.wire.sasl import make_verifier
from tests.helpers.imap_service import PASSWORD, ImapHarness

MESSAGE = b"From: Ann <a@x.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello there\r\n"


async def _with_server(blocking: Callable[[int], None]) -> None:
    async with ImapHarness() as server:
        await asyncio.to_thread(blocking, server.port())


async def test_imaplib() -> None:
    def use(port: int) -> None:
        with imaplib.IMAP4("127.0.0.1", port) as imap:
            assert "IMAP4REV1" in imap.capabilities
            imap.login("anna", PASSWORD)
            # In this order: imaplib writes `UTF8 (` into the message itself once that is enabled (RFC 6855 §4).
            assert imap.append("INBOX", "(\\Seen)", None, MESSAGE)[0] == "OK"
            imap.enable("UTF8=ACCEPT")
            assert imap.create('"Entwürfe/x"')[0] == "OK"
            assert imap.select("INBOX") == ("OK", [b"1"])
            status, data = imap.fetch("1", "(UID FLAGS BODY.PEEK[])")
            assert status == "OK" and isinstance(data[0], tuple) and data[0][1] == MESSAGE
            assert imap.search(None, "SEEN") == ("OK", [b"1"])
            assert imap.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
            assert imap.expunge() == ("OK", [b"1"])
            assert imap.status("INBOX", "(MESSAGES)")[0] == "OK"
            assert imap.list()[0] == "OK"
            assert imap.close()[0] == "OK"

    await _with_server(use)


def _imapclient(port: int) -> None:
    with IMAPClient("127.0.0.1", port, ssl=False) as imap:
        imap.plain_login("anna", PASSWORD)
        assert imap.namespace().personal == (("", "/"),)
        for text in (MESSAGE, MESSAGE.replace(b"Ann", b"Ben"), b"a: b\r\n\r\n"):
            imap.append("INBOX", text, ["\\Flagged", "kw"])
        info: dict[Any, Any] = imap.select_folder("INBOX")
        assert info[b"EXISTS"] == 3 and info[b"UIDNEXT"] == 4 and info[b"READ-WRITE"]
        uids = imap.search(["SUBJECT", "grüße"], charset="UTF-8")
        assert uids == [1, 2]
        fetched = imap.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE", "RFC822.SIZE"])
        assert fetched[1][b"ENVELOPE"].from_[0].mailbox == b"a" and fetched[2][b"RFC822.SIZE"] == len(MESSAGE)
        assert set(fetched[1][b"FLAGS"]) == {b"\\Flagged", b"kw"}
        assert imap.add_flags([3], ["\\Seen"])[3] == (b"\\Flagged", b"\\Seen", b"kw")
        imap.create_folder("Größe/Straße")
        assert "Größe/Straße" in [name for _, _, name in imap.list_folders()]
        assert imap.find_special_folder(b"\\Sent") == "Sent"
        imap.copy([1, 2], "Größe/Straße")
        assert imap.folder_status("Größe/Straße", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 2, b"UNSEEN": 2}
        imap.move([3], "Trash")
        imap.idle()
        assert imap.idle_check(timeout=0) == []
        imap.idle_done()
        imap.delete_messages([1])
        imap.uid_expunge([1])
        assert imap.search() == [2]
        imap.rename_folder("Größe", "Kleine")
        imap.unsubscribe_folder("Trash")
        assert "Trash" not in [name for _, _, name in imap.list_sub_folders()]
        assert imap.get_quota_root("INBOX")[1] == []
        imap.unselect_folder()


async def test_imapclient() -> None:
    await _with_server(_imapclient)


async def test_aioimaplib() -> None:
    async with ImapHarness() as server:
        imap = aioimaplib.IMAP4("127.0.0.1", server.port(), timeout=20)
        await imap.wait_hello_from_server()
        assert (await imap.login("anna", PASSWORD)).result == "OK"
        assert (await imap.select("INBOX")).result == "OK"
        idle = await imap.idle_start(timeout=20)
        await server.deliver(MESSAGE)
        assert b"1 EXISTS" in await imap.wait_server_push()
        imap.idle_done()
        await asyncio.wait_for(idle, 20)
        result, lines = await imap.uid("fetch", "1", "(BODY.PEEK[])")
        assert result == "OK" and bytes(lines[1]) == MESSAGE
        assert (await imap.append(MESSAGE, "INBOX")).result == "OK"
        assert (await imap.logout()).result == "OK"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_sasl(mechanism: str) -> None:
    def use(port: int) -> None:
        with imaplib.IMAP4("127.0.0.1", port) as imap:
            answers = iter([b"anna", PASSWORD.encode()] if mechanism == "LOGIN" else [f"\0anna\0{PASSWORD}".encode()])
            assert imap.authenticate(mechanism, lambda challenge: next(answers))[0] == "OK"

    await _with_server(use)


async def test_scram() -> None:
    """RFC 7677 with the last message of the server as a challenge of its own (RFC 5802 §5)."""
    async with ImapHarness() as server, server.client(None) as imap:
        server.scram["anna@example.test"] = make_verifier(PASSWORD, b"salt" * 4)

        async def say(line: bytes) -> bytes:
            imap.writer.write(line + b"\r\n")
            return await imap.response_line()

        first = "n=anna@example.test,r=nonce"
        challenge = await say(b"a AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(b"n,," + first.encode()))
        server_first = base64.b64decode(challenge[2:]).decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={fields['r']}"
        signed = f"{first},{server_first},{final}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
        answer = await say(base64.b64encode(f"{final},p={proof}".encode()))
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        assert base64.b64decode(answer[2:]) == b"v=" + base64.b64encode(expected)
        assert (await say(b"")).startswith(b"a OK [CAPABILITY")
        await imap.ok("SELECT INBOX")
