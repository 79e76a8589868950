"""Reports of other servers, as they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.dsn import MAX_OCTETS, DeliveryStatus, ReportedAddress, read_report
from mailserver.model.envelope import DsnReturn
from mailserver.ports.reports import Action
from tests.helpers.reports import HEAD, failed, told, write


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


GMAIL = crlf("""\
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: anna@example.test
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
References: <one@example.test>
X-Failed-Recipients: nobody@gmail.test
Content-Type: multipart/report; boundary="0000"; report-type=delivery-status

--0000
Content-Type: multipart/related; boundary="0001"

--0001
Content-Type: multipart/alternative; boundary="0002"

--0002
Content-Type: text/plain; charset="UTF-8"

** Address not found **

Your message wasn't delivered to nobody@gmail.test

--0002--
--0001
Content-Type: image/png; name="icon.png"
Content-Transfer-Encoding: base64

AAAA
--0001--
--0000
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Arrival-Date: Fri, 20 Nov 2026 02:00:00 -0800 (PST)
X-Original-Message-ID: <one@example.test>

Final-Recipient: rfc822; nobody@gmail.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; gmail-smtp-in.l.google.com. (2a00:1450:4013:c02::1a, the
 server for the domain gmail.test.)
Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please
 550 5.1.1  try double-checking. - gsmtp
Last-Attempt-Date: Fri, 20 Nov 2026 02:00:01 -0800 (PST)

--0000
Content-Type: message/rfc822

X-Sent-Token: abc
Message-ID: <one@example.test>
Subject: Hi

--0000--
""")

EXCHANGE = crlf("""\
From: <postmaster@contoso.test>
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/html

<p>Your message couldn't be delivered</p>
--b
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0PR01MB1234.eurprd01.prod.exchangelabs.com
Received-From-MTA: dns;mx.example.test
Arrival-Date: Fri, 20 Nov 2026 10:00:00 +0000

Original-Recipient: rfc822;bob@contoso.test
Final-Recipient: rfc822;bob@contoso.test
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@contoso.test not found

--b
Content-Type: message/rfc822

Received: from x
X-Sent-Token: abc
Subject: Hi

body
--b--
""")

QMAIL = crlf("""\
From: MAILER-DAEMON@far.test
Subject: failure notice

Hi. This is the qmail-send program at far.test.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<nobody@far.test>:
Sorry, no mailbox here by that name. (#5.1.1)

<full@far.test>:
Mailbox is full (#5.2.2)

--- Below this line is a copy of the message.

Return-Path: <anna@example.test>
X-Sent-Token: abc
Subject: Hi

body
""")

EXIM = crlf("""\
From: Mail Delivery System <Mailer-Daemon@far.test>
X-Failed-Recipients: nobody@far.test, other@far.test
Subject: Mail delivery failed: returning message to sender

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  nobody@far.test
    host 192.5.2.2 [192.0.2.1]: 550 5.1.1 User unknown.

------ This is a copy of the message, including all the headers. ------

X-Sent-Token: abc
Subject: Hi

body
""")

OLD = crlf("""\
From: MAILER-DAEMON
Content-Type: multipart/mixed; boundary=b

--b

   ----- The following addresses had permanent fatal errors -----
   ... 5.1.6 moved away
--b
Content-Type: message/rfc822

X-Sent-Token: abc

body
--b--
""")


RFC_3464 = crlf("""\
From: Mail Delivery Subsystem <MAILER-DAEMON@CS.UTK.EDU>
Content-Type: multipart/report; report-type=delivery-status;
       boundary="JAA13167.773673707/CS.UTK.EDU"

--JAA13167.773673707/CS.UTK.EDU
content-type: message/delivery-status

Reporting-MTA: dns; cs.utk.edu

Original-Recipient: rfc822;arathib@vnet.ibm.com
Final-Recipient: rfc822;arathib@vnet.ibm.com
Action: failed
Status: 5.0.0 (permanent failure)
Diagnostic-Code: smtp;  550 'arathib@vnet.IBM.COM' is not a
 registered gateway user
Remote-MTA: dns; vnet.ibm.com

Original-Recipient: rfc822;johnh@hpnjld.njd.hp.com
Final-Recipient: unknown; johnh
Action: delayed
Status: 4.0.0 (hpnjld.njd.jp.com: host name lookup failure)

--JAA13167.773673707/CS.UTK.EDU--
""")


def test_the_example_of_rfc_3464() -> None:
    found = read_report(RFC_3464)
    assert found == DeliveryStatus(
        recipients=(
            ReportedAddress(
                final="arathib@vnet.ibm.com", original="arathib@vnet.ibm.com", action="failed", status="5.0.0",
                remote="vnet.ibm.com", diagnostic="550 'arathib@vnet.IBM.COM' is not a registered gateway user",
            ),
            ReportedAddress(
                final="johnh", original="johnh@hpnjld.njd.hp.com", action="delayed", status="4.0.0"
            ),
        ),
        reporter="cs.utk.edu",
    )  # fmt: skip


def test_gmail() -> None:
    found = read_report(GMAIL)
    assert found is not None
    assert found.reporter == "googlemail.com"
    assert b"X-Sent-Token: abc\r\n" in found.header
    (one,) = found.recipients
    assert (one.final, one.original, one.action, one.status) == ("nobody@gmail.test", "", "failed", "5.1.1")
    assert one.diagnostic.startswith("550-5.1.1 The email account that you tried to reach does not exist. Please 550")
    assert one.remote.startswith("gmail-smtp-in.l.google.com.")


def test_exchange() -> None:
    found = read_report(EXCHANGE)
    assert found is not None
    (one,) = found.recipients
    assert (one.final, one.original, one.status) == ("bob@contoso.test", "bob@contoso.test", "5.1.10")
    assert one.diagnostic == "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@contoso.test not found"
    assert b"X-Sent-Token: abc" in found.header


def test_qmail() -> None:
    found = read_report(QMAIL)
    assert found is not None
    assert [(one.final, one.action, one.status) for one in found.recipients] == [
        ("nobody@far.test", "failed", "5.1.1"), ("full@far.test", "failed", "5.2.2"),
    ]  # fmt: skip
    assert b"X-Sent-Token: abc" in found.header
    assert b"body" not in found.header


def test_exim() -> None:
    found = read_report(EXIM)
    assert found is not None
    assert [(one.final, one.status) for one in found.recipients] == [
        ("nobody@far.test", "5.1.1"), ("other@far.test", "5.1.1")
    ]  # fmt: skip
    assert b"X-Sent-Token: abc" in found.header


def test_a_text_with_the_message_in_it() -> None:
    found = read_report(OLD)
    assert found is not None
    assert [(one.final, one.action, one.status) for one in found.recipients] == [("", "failed", "5.1.6")]
    assert b"X-Sent-Token: abc" in found.header


@pytest.mark.parametrize(
    "message",
    [
        b"", b"Subject: x\r\n\r\nI am on holiday until 5.12.2026, see 5.7.1\r\n", GMAIL[:50],
        crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nlook\n--b\nContent-Type: message/rfc822\n\nA: b\n\n"),
    ],
)  # fmt: skip
def test_other_mail_is_no_report(message: bytes) -> None:
    assert read_report(message) is None


@pytest.mark.parametrize(
    ("status", "diagnostic", "read"),
    [
        ("5.0.0", "550 5.1.1 no", "5.1.1"), ("5.2.2", "550 5.1.1 no", "5.2.2"), ("", "550 5.1.1 no", "5.1.1"),
        ("5.0.0", "450 4.2.1 no", "5.0.0"), ("5.0.0", "550 no", "5.0.0"), ("none", "550 no", ""),
        ("5.1.1 (unknown)", "", "5.1.1"), ("4.0.0", "ip 10.4.2.1.9, 4.2.1", "4.2.1"),
    ],
)  # fmt: skip
def test_the_status_that_says_more(status: str, diagnostic: str, read: str) -> None:
    fields = f"Final-Recipient: rfc822;a@b\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp;{diagnostic}\n"
    found = read_report(crlf(f"Content-Type: message/delivery-status\n\n{fields}"))
    assert found is not None
    assert [one.status for one in found.recipients] == [read]


def test_a_report_within_a_message_is_not_this_messages() -> None:
    inner = crlf("Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n") + EXCHANGE
    assert read_report(inner + b"\r\n--o--\r\n") is None


def test_ours_is_read_as_it_was_written() -> None:
    report = write(
        told("bob@far.test", original_recipient="rfc822;b+2Bx@far.test"),
        told("carla@far.test", Action.DELAYED, result=failed(status="4.2.2", code=452, reply="4.2.2 full, " * 20)),
        envelope_id="QQ+3D31", dsn_return=DsnReturn.FULL,
    )  # fmt: skip
    found = read_report(report.content)
    assert found == DeliveryStatus(
        recipients=(
            ReportedAddress(
                final="bob@far.test", original="b+x@far.test", action="failed", status="5.1.1",
                remote="mx.far.test (192.0.2.25)", diagnostic="550 5.1.1 User unknown",
            ),
            ReportedAddress(
                final="carla@far.test", action="delayed", status="4.2.2", remote="mx.far.test (192.0.2.25)",
                diagnostic="452 " + ("4.2.2 full, " * 20).strip(),
            ),
        ),
        header=HEAD[: HEAD.index(b"Hello")], envelope_id="QQ=31", reporter="mx.example.test",
    )  # fmt: skip


def test_hostile_reports_are_bounded() -> None:
    status = b"Content-Type: message/delivery-status\r\n\r\n"
    many = read_report(status + b"Final-Recipient: rfc822; a@b\r\nAction: failed\r\n\r\n" * 3000)
    assert many is not None
    assert len(many.recipients) <= 1001
    heads = (status, b"X-Failed-Recipients: a@b\r\n\r\n", b"\r\nqmail-send ", b"\r\n- original message follows\n")
    for filler in (b"\n", b"\n\n", b"<a@b>:", b"x: ", b"5.1.1", b"-", b"> ", b"<", b"\r\n "):
        for head in heads:
            read_report(head + filler * (MAX_OCTETS // len(filler)))


PIECES = [GMAIL, EXCHANGE, QMAIL, EXIM, OLD]


@given(st.sampled_from(PIECES), st.integers(0, 2000), st.integers(0, 2000), st.binary(max_size=20))
def test_a_damaged_report_never_raises(message: bytes, start: int, end: int, filling: bytes) -> None:
    found = read_report(message[:start] + filling + message[end:])
    for one in found.recipients if found else ():
        assert (one.final + one.original + one.diagnostic + one.status + one.remote).isprintable()
