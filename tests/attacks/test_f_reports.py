"""ATTACKS F01, F02, F03, F05 and E09, as far as they are about reports that we write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.headers import fields, header_block_end
from mailserver.mime.structure import parse
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import DsnReturn
from tests.helpers.reports import HEAD, WRITER, failed, make_request, read, told, write


def test_f03_the_null_sender_is_told_nothing() -> None:
    assert WRITER.write(make_request(sender=None)) is None


def test_f05_a_long_header_keeps_what_is_needed() -> None:
    head = b"".join(b"X-%d: %b\r\n" % (n, b"y" * 900) for n in range(60)) + HEAD
    report = write(head=head, size=30_000_000)
    quoted = read(report)[3].get_content()
    assert len(quoted) < 1000
    assert "Subject: Holiday plans" in quoted


def test_f05_a_thousand_recipients_are_one_small_report() -> None:
    reply = "5.1.1 no such user here, " + "and some more words " * 45
    report = write(
        *(told(f"user{n}@far{n % 30}.test", result=failed(reply=reply)) for n in range(1000)),
        dsn_return=DsnReturn.FULL, size=30_000_000, head=HEAD + b"x" * 60_000,
    )  # fmt: skip
    message, text, groups, original = read(report)
    assert len(groups) == 1001
    assert message["Subject"] == "Not delivered: user0@far0.test and 999 more"
    assert len(str(original)) < 1000
    assert len(text) < 40_000
    assert len(report.content) < 600_000


class TestE09:
    """ORCPT and ENVID stand for anything; what is no text stays encoded."""

    def test_line_ends(self) -> None:
        report = write(told(original_recipient="rfc822;a+0D+0ASubject:+20x@far.test"), envelope_id="a+0D+0AX:+20y")
        _, _, (of_message, group), _ = read(report)
        assert of_message["Original-Envelope-Id"] == "a+0D+0AX:+20y"
        assert group["Original-Recipient"] == "rfc822; a+0D+0ASubject:+20x@far.test"

    def test_hidden_in_the_utf8_form(self) -> None:
        _, _, (_, group), _ = read(write(told(original_recipient=r"utf-8;a\x{0D}\x{0A}X:@far.test")))
        assert group["Original-Recipient"] == r"utf-8; a\x{0D}\x{0A}X:@far.test"


hostile = st.one_of(
    st.text(max_size=200),
    st.text(st.sampled_from("a =?utf-8?q?=0A?=\r\n\x85\u2028\u202e:<>()\";\\\0-"), max_size=200),
    st.sampled_from(
        ["x\r\nSubject: y", "x\n\nAction: delivered", "=?utf-8?q?a=0D=0AB:_c?=", "x\x85y", "\x00\x7f", " " * 50]
    ),
)


class TestF01F02:
    """Nothing that others say begins a field, a line, or a part of its own."""

    @given(hostile, hostile, hostile, st.integers(0, 999))
    def test_what_servers_say(self, reply: str, remote: str, peer: str, code: int) -> None:
        plain = write(told(result=failed(reply="x", remote="y", address="z", code=550)))
        report = write(told(result=failed(reply=reply, remote=remote, address=peer, code=code)))
        self.check(report.content, plain.content)
        _, text, groups, _ = read(report)
        assert text.replace("\n", "").isprintable()
        assert len(groups) == 2
        in_utf8 = write(told(result=failed(reply=reply, remote=remote, address=peer, code=code)), sender="ж@far.test")
        assert in_utf8.content.decode().replace("\r\n", "").isprintable()
        allowed = {
            "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date", "Final-Log-ID"
        }  # fmt: skip
        assert set(groups[1].keys()) <= allowed
        assert groups[1].get_all("Action") == ["failed"]

    @given(st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8"), min_size=1, max_size=16))
    def test_addresses(self, local: str) -> None:
        strange = EmailAddress(local, "far.test")
        report = write(told(strange))
        assert report.content.isascii()
        self.check(report.content, write().content)
        _, _, groups, _ = read(report)
        assert [group["Action"] for group in groups[1:]] == ["failed"]

    @given(st.binary(max_size=300))
    def test_the_message(self, head: bytes) -> None:
        for wanted in (None, DsnReturn.FULL):
            report = write(head=head, dsn_return=wanted)
            self.check(report.content, write().content, {b"in-reply-to", b"references"})
            read(report)

    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=80))
    def test_ids(self, text: str) -> None:
        report = write(told(original_recipient=f"{text};{text}"), envelope_id=text)
        self.check(report.content, write().content)
        assert len(read(report)[2]) == 2

    def check(self, content: bytes, plain: bytes, optional: frozenset[bytes] | set[bytes] = frozenset()) -> None:
        names = [name for name, _, _ in fields(content)]
        assert [n for n in names if n not in optional] == [n for n, _, _ in fields(plain) if n not in optional]
        assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
        assert b"\0" not in content
        assert max(map(len, content.split(b"\r\n"))) <= 998
        assert header_block_end(content) < 2000
        message = parse(content)
        assert not message.ambiguous
        assert len(message.children) == 3
