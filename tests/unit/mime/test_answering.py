"""Which messages a program may answer: one table for everything that answers."""

from __future__ import annotations

import pytest

from mailserver.mime.answering import why_no_answer
from mailserver.model.address import EmailAddress

ANNA, BEN = "anna@example.test", "ben@far.test"


def mine(address: EmailAddress) -> bool:
    return address.key in (ANNA, "office@example.test")


def why(header: str, sender: str = BEN) -> str:
    parsed = EmailAddress.parse(sender) if sender else None
    return why_no_answer(parsed, header.encode() + b"\r\nTo: decoy@x.test\r\nAuto-Submitted: auto-replied\r\n", mine)


TO = f"To: {ANNA}\r\n"
NAMED = "none of the recipient's addresses is in To or Cc"
PROGRAM = "its sender is the address of a program"


@pytest.mark.parametrize(
    "header",
    [
        TO, "TO : Anna <ANNA@example.test>\r\nSubject: hello\r\n", "Cc: x@y.test,\r\n office@example.test\r\n",
        f"To: undisclosed-recipients:;\r\nBcc: {ANNA}\r\n", f"To: list@y.test\r\nResent-To: {ANNA}\r\n",
        f"To: team: x@y.test, {ANNA};\r\n", TO + "Auto-Submitted: no\r\n", TO + "Auto-Submitted: NO; x=y\r\n",
        TO + "Precedence: first-class\r\n", TO + "X-Auto-Response-Suppress: RN, NRN\r\n",
        TO + "Subject: Re: Automatic doors\r\n", TO + "Listing: x\r\n", TO + "Content-Type: text/plain\r\n",
        "To: " + ", ".join(f"p{n}@y.test" for n in range(150)) + f", {ANNA}\r\n",
    ],
)  # fmt: skip
def test_mail_of_people_is_answered(header: str) -> None:
    assert why(header) == ""


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", NAMED), ("Subject: x\r\n", NAMED), (f"From: {ANNA}\r\n", NAMED), ("To: list@y.test\r\n", NAMED),
        ("To: xanna@example.test\r\n", NAMED), (f'To: "{ANNA}" <x@y.test>\r\n', NAMED),
        (f"To: ({ANNA}) x@y.test\r\n", NAMED), ("To: <\r\n", NAMED), (f"X-To: {ANNA}\r\n", NAMED),
        ("To: " + ", ".join(f"p{n}@y.test" for n in range(250)) + f", {ANNA}\r\n", NAMED),
        (TO + "Auto-Submitted: auto-replied\r\n", "it was sent automatically (Auto-Submitted)"),
        (TO + "AUTO-SUBMITTED:\r\n auto-generated (x)\r\n", "it was sent automatically (Auto-Submitted)"),
        (TO + "Auto-Submitted:\r\n", "it was sent automatically (Auto-Submitted)"),
        (TO + "Precedence: Bulk\r\n", "it was sent to many (Precedence)"),
        (TO + "Precedence: list\r\n", "it was sent to many (Precedence)"),
        (TO + "Precedence: junk\r\n", "it was sent to many (Precedence)"),
        (TO + "List-Id: <x.y.test>\r\n", "it is from a mailing list"),
        (TO + "List-Unsubscribe: <https://y.test>\r\n", "it is from a mailing list"),
        (TO + "list-help :\r\n", "it is from a mailing list"),
        (TO + "Mailing-List: contact x@y.test\r\n", "a program wrote it (mailing-list)"),
        (TO + "X-Autoreply: yes\r\n", "a program wrote it (x-autoreply)"),
        (TO + "X-Auto-Response-Suppress: DR, OOF\r\n", "its sender wants no automatic answers"),
        (TO + "X-Auto-Response-Suppress: All\r\n", "its sender wants no automatic answers"),
        (TO + "Content-Type: Multipart/Report; boundary=x\r\n", "it is a report"),
        (TO + "Content-Type: message/disposition-notification\r\n", "it is a report"),
        (TO + "Subject: Auto: away\r\n", "its subject is that of an answering program"),
        (TO + "Subject: Out of office: x\r\n", "its subject is that of an answering program"),
    ],
)  # fmt: skip
def test_other_mail_is_not(header: str, reason: str) -> None:
    assert why(header) == reason


@pytest.mark.parametrize(
    ("sender", "reason"),
    [
        ("", "it has no sender to answer to"), ("MAILER-DAEMON@far.test", PROGRAM), ("owner-list@far.test", PROGRAM),
        ("list-request@far.test", PROGRAM), ("List-Bounces@far.test", PROGRAM), ("no-reply@far.test", PROGRAM),
        ("donotreply@far.test", PROGRAM), ("bounces+anna=example.test@far.test", PROGRAM),
        ("listserv@far.test", PROGRAM), ("majordomo@far.test", PROGRAM),
        (ANNA, "it is from the recipient's own address"),
        ("Office@Example.test", "it is from the recipient's own address"),
        ("bounceback.smith@far.test", ""), ("owner@far.test", ""), ("request@far.test", ""),
    ],
)  # fmt: skip
def test_senders(sender: str, reason: str) -> None:
    assert why(TO, sender) == reason


@pytest.mark.parametrize(
    "head", [b"", b"\r\n", b"To:", b"To: " + b"(" * 100_000, b"\xff" * 1000, b"To: " + b"a@b.c," * 200_000]
)
def test_any_input_has_an_answer(head: bytes) -> None:
    assert why_no_answer(EmailAddress.parse(BEN), head, mine)
