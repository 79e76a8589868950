"""Reports, read again by CPython's email package and by our own parser."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailserver.mime.structure import parse
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.envelope import Body, DsnReturn, Notify
from mailserver.outbound.dsn.writer import DsnWriter
from mailserver.ports.reports import Action
from tests.helpers.reports import ARRIVED, HEAD, WRITER, address, failed, make_request, read, told, write


def test_a_failure() -> None:
    report = write(told(original_recipient="rfc822;b+2Bx@far.test"), envelope_id="QQ+3D31")
    message, text, (of_message, of_bob), original = read(report)
    assert {name: message[name] for name in message if name != "Content-Type"} == {
        "Date": "Fri, 20 Nov 2026 10:02:00 +0000", "From": "Mail Delivery System <postmaster@example.test>",
        "To": "anna@example.test", "Subject": "Not delivered: bob@far.test",
        "Message-ID": "<0report.report@mx.example.test>", "In-Reply-To": "<one@example.test>",
        "References": "<one@example.test>", "Auto-Submitted": "auto-replied", "Content-Language": "en",
        "MIME-Version": "1.0",
    }  # fmt: skip
    assert dict(of_message.items()) == {
        "Original-Envelope-Id": "QQ=31", "Reporting-MTA": "dns; mx.example.test",
        "Arrival-Date": "Fri, 20 Nov 2026 10:00:00 +0000",
    }  # fmt: skip
    assert dict(of_bob.items()) == {
        "Original-Recipient": "rfc822; b+x@far.test", "Final-Recipient": "rfc822; bob@far.test", "Action": "failed",
        "Status": "5.1.1", "Remote-MTA": "dns; mx.far.test (192.0.2.25)",
        "Diagnostic-Code": "smtp; 550 5.1.1 User unknown", "Last-Attempt-Date": "Fri, 20 Nov 2026 10:01:00 +0000",
        "Final-Log-ID": "0original",
    }  # fmt: skip
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_content().strip() == HEAD.decode().partition("\r\n\r\n")[0]
    paragraphs = text.split("\n\n")
    assert "Holiday plans" in " ".join(paragraphs[0].split())
    assert paragraphs[1:4] == [
        "Your message could not be delivered to:", "    bob@far.test",
        "What it means: There is no mailbox of this name at far.test.",
    ]  # fmt: skip
    assert text.index("What to do") < text.index("> 550 5.1.1 User unknown")


def test_a_server_that_is_known_by_its_address_only() -> None:
    _, text, (_, group), _ = read(write(told(result=failed(remote="[192.0.2.25]"))))
    assert group["Remote-MTA"] == "dns; [192.0.2.25]"
    assert "The answer of [192.0.2.25]:" in text


def test_its_envelope() -> None:
    report = write()
    assert report.envelope.sender is None
    assert [(str(r.address), r.notify) for r in report.envelope.recipients] == [
        ("anna@example.test", frozenset({Notify.NEVER}))
    ]
    assert report.envelope.own
    assert (report.envelope.body, report.envelope.smtputf8) == (Body.SEVEN_BIT, False)
    assert report.content.isascii()


def test_a_delay() -> None:
    one = told(
        action=Action.DELAYED, will_retry_until=ARRIVED + 5 * 86_400,
        result=Result(outcome=Outcome.DEFERRED, status="4.4.1", reply="no server of far.test answered"),
    )  # fmt: skip
    message, text, (_, of_bob), _ = read(write(one))
    assert message["Subject"] == "Delayed: bob@far.test"
    assert (of_bob["Action"], of_bob["Status"]) == ("delayed", "4.4.1")
    assert of_bob["Will-Retry-Until"] == "Wed, 25 Nov 2026 10:00:00 +0000"
    # RFC 3464 §2.3.5: there was no remote server; §2.3.6: the words are ours.
    assert of_bob["Remote-MTA"] is None
    assert of_bob["Diagnostic-Code"] == "X-Mailserver; no server of far.test answered"
    assert "goes on trying until Wednesday 25 November 2026, 10:00 (UTC)." in " ".join(text.split())
    assert "What to do" not in text


def test_a_delay_without_an_attempt() -> None:
    result = Result(outcome=Outcome.DEFERRED, status="4.4.7", reply="No attempt could be made yet")
    _, text, (_, group), _ = read(write(told(action=Action.DELAYED, result=result)))
    assert "What it means" not in text
    assert "Nothing is lost" in text
    assert group["Diagnostic-Code"] == "X-Mailserver; No attempt could be made yet"


@pytest.mark.parametrize(
    ("action", "success", "subject"),
    [
        (Action.DELIVERED, Success.DELIVERED, "Delivered"), (Action.RELAYED, Success.RELAYED, "Passed on"),
        (Action.EXPANDED, Success.EXPANDED, "Forwarded"),
    ],
)  # fmt: skip
def test_good_news(action: Action, success: Success, subject: str) -> None:
    result = failed(outcome=Outcome.DELIVERED, status="2.1.5", code=250, reply="2.1.5 Ok", success=success)
    message, text, (_, of_bob), original = read(write(told(action=action, result=result, notify="SUCCESS")))
    assert message["Subject"] == f"{subject}: bob@far.test"
    assert (of_bob["Action"], of_bob["Status"]) == (action.value, "2.1.5")
    assert "Will-Retry-Until" not in of_bob
    assert "What it means" not in text
    assert original.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("action", "notify", "wanted"),
    [
        (Action.FAILED, "", True), (Action.FAILED, "FAILURE", True), (Action.FAILED, "NEVER", False),
        (Action.FAILED, "SUCCESS DELAY", False), (Action.DELAYED, "", True), (Action.DELAYED, "DELAY", True),
        (Action.DELAYED, "FAILURE", False), (Action.DELAYED, "NEVER", False), (Action.DELIVERED, "", False),
        (Action.DELIVERED, "SUCCESS FAILURE", True), (Action.DELIVERED, "FAILURE", False),
        (Action.RELAYED, "", False), (Action.RELAYED, "SUCCESS", True), (Action.EXPANDED, "NEVER", False),
    ],
)  # fmt: skip
def test_who_wants_to_know(action: Action, notify: str, wanted: bool) -> None:
    """RFC 3461 §5.2."""
    assert (WRITER.write(make_request(told(action=action, notify=notify))) is not None) is wanted


def test_a_report_names_only_those_who_want_it() -> None:
    """RFC 3461 §5.2.8."""
    report = write(told("a@far.test", notify="NEVER"), told("b@far.test"))
    message, _, groups, _ = read(report)
    assert [group["Final-Recipient"] for group in groups[1:]] == ["rfc822; b@far.test"]
    assert b"a@far.test" not in report.content
    assert message["Subject"] == "Not delivered: b@far.test"


def test_equal_requests_give_equal_reports() -> None:
    assert write().content == write().content
    assert write().content != write(report_id="0other").content


@pytest.mark.parametrize(
    ("status", "action", "shown"),
    [
        ("4.4.7", Action.FAILED, "4.4.7"), ("2.0.0", Action.FAILED, "5.0.0"), ("5.1.1", Action.DELAYED, "4.0.0"),
        ("5.01.1", Action.FAILED, "5.0.0"), ("", Action.FAILED, "5.0.0"), ("5.1.1 x", Action.FAILED, "5.0.0"),
    ],
)  # fmt: skip
def test_the_status_fits_the_action(status: str, action: Action, shown: str) -> None:
    _, _, (_, group), _ = read(write(told(action=action, result=failed(status=status))))
    assert group["Status"] == shown


def test_what_was_asked_to_come_later_says_so() -> None:
    """RFC 4865 §5.1.2."""
    _, _, (of_message, _), _ = read(write(hold_request="until;2026-11-20T09:59:00Z", hold_until=float(ARRIVED)))
    assert of_message["Future-Release-Request"] == "until;2026-11-20T09:59:00Z"
    assert "Arrival-Date" in of_message


def test_what_was_tried_for_days_says_so() -> None:
    _, text, (_, group), _ = read(write(told(result=failed(status="4.4.1", code=0, reply="no answer"))))
    assert (group["Action"], group["Status"]) == ("failed", "4.4.1")
    assert "again and again" in text


def test_several_actions_in_one_report() -> None:
    delayed = told("c@far.test", Action.DELAYED, result=failed(outcome=Outcome.DEFERRED, status="4.2.2", code=452))
    message, text, groups, _ = read(write(delayed, told("a@far.test"), told("b@other.test")))
    assert message["Subject"] == "Not delivered: a@far.test and 1 more"
    assert [group["Action"] for group in groups[1:]] == ["delayed", "failed", "failed"]
    assert text.count("could not be delivered") == 2
    assert text.count("has not been delivered yet") == 1


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        (b"Fri, 20 Nov 2026 11:00:00 +0100", "Friday 20 November 2026, 11:00 (UTC+1)"),
        (b"Fri, 20 Nov 2026 04:30:00 -0530 (odd)", "Friday 20 November 2026, 4:30 (UTC-5:30)"),
        (b"Sat, 21 Nov 2026 00:00:00 +1400", "Saturday 21 November 2026, 0:00 (UTC+14)"),
        (b"nonsense", "Friday 20 November 2026, 10:00 (UTC)"), (b"Fri, 20 Nov 2026 11:00:00 +9999",
         "Friday 20 November 2026, 10:00 (UTC)"),
    ],
)  # fmt: skip
def test_times_are_those_of_the_sender(date: bytes, shown: str) -> None:
    _, text, _, _ = read(write(head=b"Date: " + date + b"\r\n\r\n"))
    assert f"your message of {shown}." in " ".join(text.split())


class TestTheOriginal:
    """RFC 3461 §6.2."""

    def test_all_of_it_on_request(self) -> None:
        _, _, _, original = read(write(dsn_return=DsnReturn.FULL))
        assert original.get_content_type() == "message/rfc822"
        inner = original.get_payload(0)
        assert inner.get_content() == "Hello.\r\n"  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "fields",
        [
            {"dsn_return": DsnReturn.HEADERS}, {}, {"dsn_return": DsnReturn.FULL, "size": 60_000},
            {"dsn_return": DsnReturn.FULL, "require_tls": True}, {"dsn_return": DsnReturn.FULL, "size": 200},
            {"dsn_return": DsnReturn.FULL, "head": HEAD + b"\xe4\r\n"},
            {"dsn_return": DsnReturn.FULL, "head": HEAD + b"x" * 999},
            {"dsn_return": DsnReturn.FULL, "head": HEAD + b"a\0b"},
        ],
    )  # fmt: skip
    def test_else_its_header(self, fields: dict[str, object]) -> None:
        report = write(**fields)
        _, _, _, original = read(report)
        assert original.get_content_type() == "text/rfc822-headers"
        assert "Hello" not in str(original)
        assert report.envelope.require_tls is fields.get("require_tls", False)

    def test_only_failures_return_all_of_it(self) -> None:
        delayed = told(action=Action.DELAYED, result=failed(status="4.4.1"))
        assert read(write(delayed, dsn_return=DsnReturn.FULL))[3].get_content_type() == "text/rfc822-headers"

    def test_eight_bit_as_it_came(self) -> None:
        report = write(dsn_return=DsnReturn.FULL, body=Body.EIGHT_BIT_MIME, head=HEAD + "grün\r\n".encode())
        assert report.envelope.body is Body.EIGHT_BIT_MIME
        assert read(report)[3].get_content_type() == "message/rfc822"
        assert "grün\r\n".encode() in report.content

    def test_an_eight_bit_header_travels_in_seven_bits(self) -> None:
        report = write(head=b"Subject: gr\xfcn\r\n\r\n")
        assert report.content.isascii()
        assert report.envelope.body is Body.SEVEN_BIT
        assert read(report)[3].get_payload(decode=True) == b"Subject: gr\xfcn\r\n\r\n"

    def test_without_a_sound_message_id_there_is_no_reference(self) -> None:
        for value in (b"<a b@c>", b"none", b"<" + b"a" * 300 + b"@b>", "<ä@b>".encode(), b"<a\x01@b>"):
            message, *_ = read(write(head=b"Message-ID: " + value + b"\r\n\r\n"))
            assert message["In-Reply-To"] in (None, "<ab@c>")


class TestOtherScripts:
    """RFC 6533."""

    def test_a_recipient_beyond_ascii_for_a_plain_sender(self) -> None:
        one = told("用户@far.test", original_recipient=r"utf-8;\x{7528}@far.test")
        message, text, (_, group), _ = read(write(one))
        assert group["Final-Recipient"] == r"utf-8; \x{7528}\x{6237}@far.test"
        assert group["Original-Recipient"] == r"utf-8; \x{7528}@far.test"
        assert message["Subject"] == "Not delivered: 用户@far.test"
        assert "用户@far.test" in text

    def test_a_sender_beyond_ascii(self) -> None:
        report = write(
            told("用户@far.test", original_recipient=r"utf-8;\x{7528}@far.test"), sender="анна@example.test",
            smtputf8=True, head="Subject: Привет\r\n\r\n".encode(),
        )  # fmt: skip
        assert (report.envelope.smtputf8, report.envelope.body) == (True, Body.EIGHT_BIT_MIME)
        message = parse(report.content)
        assert [part.media_type for part in message.children] == [
            "text/plain", "message/global-delivery-status", "message/global-headers",
        ]  # fmt: skip
        assert "To: <анна@example.test>\r\n".encode() in report.content
        assert "Final-Recipient: utf-8; 用户@far.test\r\n".encode() in report.content
        assert "Original-Recipient: utf-8; 用@far.test\r\n".encode() in report.content
        assert "Subject: Привет\r\n".encode() in report.content

    def test_all_of_a_message_in_utf8(self) -> None:
        head = "Subject: Привет\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nПривет\r\n".encode()
        report = write(sender="анна@example.test", smtputf8=True, head=head, dsn_return=DsnReturn.FULL)
        assert [part.media_type for part in parse(report.content).children][2] == "message/global"
        assert head in report.content

    def test_an_internationalized_message_for_a_plain_sender(self) -> None:
        report = write(smtputf8=True, head="Subject: Привет\r\n\r\n".encode(), dsn_return=DsnReturn.FULL)
        assert report.content.isascii()
        assert [part.media_type for part in parse(report.content).children][2] == "message/global-headers"
        assert not report.envelope.smtputf8


def test_the_boundary_is_in_no_part() -> None:
    content = write().content
    first = content.partition(b'boundary="')[2].partition(b'"')[0]
    clash = write(head=HEAD[:-2] + b"--" + first + b"\r\n", dsn_return=DsnReturn.FULL).content
    message = parse(clash)
    assert message.boundary != first
    assert len(message.children) == 3


def test_the_subject_of_a_long_address_fits() -> None:
    long = address('"' + "a" * 60 + '"@' + ".".join(["b" * 60] * 4))
    message, *_ = read(write(told(long)))
    assert str(long) in message["Subject"].replace(" ", "")


def test_dates_of_a_request_are_whole_seconds() -> None:
    request = make_request()
    moved = replace(request, at=request.at + 0.4)
    assert WRITER.write(moved) == WRITER.write(request)


def test_an_answer_reaches_a_person_as_soon_as_a_domain_is_served() -> None:
    """The first domain may come long after the start."""
    served: list[str] = []
    writer = DsnWriter(hostname="machine", home=lambda: served[0] if served else "")
    for expected in ("postmaster@machine", "postmaster@example.test"):
        report = writer.write(make_request())
        assert report is not None and f"<{expected}>".encode() in report.content
        served.append("example.test")


class TestToAStranger:
    """Nobody vouches for his return path: who reads the report may have nothing to do with it."""

    def test_only_failures_are_told_unasked(self) -> None:
        for action in Action:
            report = WRITER.write(make_request(told(action=action), account=None))
            assert (report is not None) == (action is Action.FAILED)
        assert WRITER.write(make_request(told(action=Action.DELAYED, notify="DELAY"), account=None)) is not None
        assert WRITER.write(make_request(told(notify="NEVER"), account=None)) is None

    def test_what_is_returned(self) -> None:
        received = b"Received: from a (a [192.0.2.1])\r\n\tby b; Fri, 20 Nov 2026 10:02:00 +0000\r\n"
        kept = received + b"From: x@far.test\r\nSubject: Buy\r\n" + received
        head = kept + b"Subject: again\r\nX-Text: pills\r\nCc: y@far.test\r\nTo: " + b"x" * 400 + b"\r\n\r\nBody\r\n"
        _, text, _, original = read(write(head=head, sender="x@far.test", account=None))
        assert original.get_content().split() == kept.decode().split()
        assert "Buy" not in text

    def test_it_is_small(self) -> None:
        head = b"".join(b"Received: %b%d\r\n" % (b"x" * 900, n) for n in range(50)) + HEAD
        report = write(head=head, sender="x@far.test", account=None)
        assert len(report.content) < 12_000
