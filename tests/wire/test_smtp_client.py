"""The SMTP client without a network: replies, what a server offers, commands, and the transaction's state machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Body, DsnReturn, Envelope, Notify, Recipient
from mailserver.model.errors import InvalidInput
from mailserver.wire.dotstuff import DotReader, Stuffer, stuff
from mailserver.wire.smtp_client.auth import AuthFailed, choose
from mailserver.wire.smtp_client.commands import Demands, mail_command, obstacle, rcpt_command
from mailserver.wire.smtp_client.features import HELO, Features
from mailserver.wire.smtp_client.replies import (
    LONGEST_LINE,
    MOST_LINES,
    BadReply,
    RemoteReply,
    ReplyReader,
    printable,
)
from mailserver.wire.smtp_client.transaction import Stage, Transaction

# Replies


def read(octets: bytes, cuts: Sequence[int] = ()) -> list[RemoteReply]:
    reader = ReplyReader()
    edges = [0, *cuts, len(octets)]
    return [reply for a, b in itertools.pairwise(edges) for reply in reader.feed(octets[a:b])]


def shown(replies: Iterable[RemoteReply]) -> list[tuple[int, str, str]]:
    return [(reply.code, reply.status, reply.text) for reply in replies]


REPLIES = [
    (b"250 Ok\r\n", [(250, "", "Ok")]),
    (b"250\r\n", [(250, "", "")]),
    (b"250 \r\n", [(250, "", "")]),
    (b"250-\r\n250 \r\n", [(250, "", "")]),
    (b"250 2.1.0 Ok\r\n", [(250, "2.1.0", "Ok")]),
    (b"550 5.7.1\r\n", [(550, "5.7.1", "")]),
    (b"550 5.7.1.1 no\r\n", [(550, "", "5.7.1.1 no")]),
    (b"550-5.7.1 first\r\n550 5.7.1 second\r\n", [(550, "5.7.1", "first second")]),
    (b"550-5.7.1 first\r\n550 second\r\n", [(550, "5.7.1", "first second")]),
    (b"250 bare line feed\n", [(250, "", "bare line feed")]),
    (b"250 one\r\n354 two\r\n", [(250, "", "one"), (354, "", "two")]),
    (b"571 5.7.1 a second digit that RFC 5321 does not know\r\n",
     [(571, "5.7.1", "a second digit that RFC 5321 does not know")]),
    (b"550 a\0b\x1b[31m\xff\r\n", [(550, "", "a?b?[31m\ufffd")]),
    ("550 grüße \u202e\r\n".encode(), [(550, "", "grüße ?")]),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "expected"), REPLIES)
def test_a_reply_is_read(octets: bytes, expected: list[tuple[int, str, str]]) -> None:
    assert shown(read(octets)) == expected
    assert shown(read(octets, range(1, len(octets)))) == expected
    reader = ReplyReader()
    reader.feed(octets + b"25")
    assert not reader.empty, "half a line is something"


@pytest.mark.parametrize(
    "octets",
    [
        b"999 no\r\n", b"150 no\r\n", b"25 no\r\n", b"2500 no\r\n", b"250_no\r\n", b"hello\r\n", b"\r\n",
        b" 250 no\r\n", b"\0\0\0\r\n", b"+OK dovecot ready\r\n", b"HTTP/1.1 400 Bad Request\r\n",
        "２５０ no\r\n".encode(), b"250-one\r\n550 two\r\n", b"250-one\r\n251-two\r\n250 three\r\n",
    ],
)  # fmt: skip
def test_what_is_no_reply_ends_the_dialogue(octets: bytes) -> None:
    with pytest.raises(BadReply):
        read(octets)
    with pytest.raises(BadReply):
        read(octets, range(1, len(octets)))


def test_a_line_without_end_is_held_to_its_bound() -> None:
    reader = ReplyReader()
    fed = 0
    with pytest.raises(BadReply):
        while fed < 1 << 20:
            reader.feed(b"250 " + b"x" * 1020)
            fed += 1024
    assert fed <= LONGEST_LINE
    with pytest.raises(BadReply):
        read(b"250 " + b"x" * LONGEST_LINE + b"\r\n")


def test_a_reply_without_end_is_held_to_its_bound() -> None:
    reader = ReplyReader()
    with pytest.raises(BadReply):
        for _ in range(MOST_LINES):
            reader.feed(b"250-x\r\n")
        reader.feed(b"250-x\r\n")
    assert len(read(b"250-x\r\n" * (MOST_LINES - 1) + b"250 x\r\n")[0].lines) == MOST_LINES
    with pytest.raises(BadReply):
        read((b"250-" + b"x" * 4000 + b"\r\n") * 20)


def test_replies_that_nobody_asked_for_are_not_gathered_without_bound() -> None:
    with pytest.raises(BadReply):
        read(b"250 x\r\n" * 5000)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_octets_are_replies_or_refused_however_they_are_cut(octets: bytes, cuts: list[int]) -> None:
    def outcome(places: Sequence[int]) -> list[tuple[int, str, str]] | None:
        try:
            return shown(read(octets, places))
        except BadReply:
            return None

    assert outcome(sorted(min(cut, len(octets)) for cut in cuts)) == outcome(())


@given(st.binary(max_size=5000))
def test_text_is_one_printable_line(octets: bytes) -> None:
    text = printable(octets)
    assert text.isprintable()
    assert len(text) <= 1000


# What a server offers


def features(*lines: str) -> Features:
    return Features.parse(line.encode("latin-1") for line in ("mx.test greets", *lines))


def test_what_a_server_offers() -> None:
    found = features(
        "PIPELINING", "size 1000", "8bitmime", "AUTH PLAIN login", "AUTH=CRAM-MD5", "CHUNKING", "DSN", "SMTPUTF8",
        "STARTTLS", "REQUIRETLS", "LIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1", "X-\xff what is this",
    )  # fmt: skip
    assert found == Features(
        pipelining=True, size_known=True, size=1000, eight_bit=True, auth=frozenset({"PLAIN", "LOGIN", "CRAM-MD5"}),
        chunking=True, dsn=True, smtputf8=True, starttls=True, require_tls=True, recipients=20, messages=5, domains=1,
    )  # fmt: skip
    assert features() == Features()
    assert Features.parse([b"PIPELINING"]) == Features(), "the first line is a name"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SIZE", Features(size_known=True)),
        ("SIZE 0", Features(size_known=True)),
        ("SIZE ten", Features(size_known=True)),
        ("SIZE " + "9" * 30, Features(size_known=True)),
        ("LIMITS RCPTMAX=0 MAILMAX=7", Features(messages=7)),
        ("LIMITS RCPTMAX=1000000 MAILMAX=7", Features(messages=7)),
        ("LIMITS RCPTMAX MAILMAX=7 NEWLIMIT=x", Features(messages=7)),
        ("LIMITS RCPTMAX=20;MAILMAX=5", Features()),
        ("LIMITS RCPTMAX=20 =5", Features()),
    ],
)
def test_what_is_not_well_formed_is_not_there(line: str, expected: Features) -> None:
    assert features(line) == expected


# Commands

ANNA, BERT = EmailAddress("anna", "example.test"), EmailAddress("bert", "far.test")
EVERYTHING = features("PIPELINING", "SIZE 100000", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS", "CHUNKING")


def test_commands_for_a_server_that_knows_nothing() -> None:
    envelope = Envelope(sender=ANNA, dsn_return=DsnReturn.FULL, envelope_id="x1", body=Body.SEVEN_BIT)
    recipient = Recipient(address=BERT, notify=frozenset({Notify.NEVER}), original_recipient="rfc822;bert@far.test")
    assert mail_command(envelope, Demands(size=5), HELO) == b"MAIL FROM:<anna@example.test>\r\n"
    assert rcpt_command(recipient, HELO) == b"RCPT TO:<bert@far.test>\r\n"
    assert mail_command(Envelope(sender=None), Demands(size=5), HELO) == b"MAIL FROM:<>\r\n"


def test_commands_for_a_server_that_knows_everything() -> None:
    envelope = Envelope(sender=EmailAddress("änna", "example.test"), dsn_return=DsnReturn.HEADERS, envelope_id="x+201")
    demands = Demands(size=5, eight_bit=True, utf8_header=True, smtputf8=True, require_tls=True)
    assert mail_command(envelope, demands, EVERYTHING) == (
        "MAIL FROM:<änna@example.test> SIZE=5 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=x+201\r\n".encode()
    )
    recipient = Recipient(
        address=EmailAddress("be rt", "far.test"), notify=frozenset({Notify.DELAY, Notify.FAILURE}),
        original_recipient="utf-8;bért@far.test",
    )  # fmt: skip
    assert rcpt_command(recipient, EVERYTHING, smtputf8=True) == (
        'RCPT TO:<"be rt"@far.test> NOTIFY=FAILURE,DELAY ORCPT=utf-8;bért@far.test\r\n'.encode()
    )
    assert b"ORCPT=utf-8;b\\x{E9}rt@far.test\r\n" in rcpt_command(recipient, EVERYTHING)


@pytest.mark.parametrize("local", ["a\r\nRCPT TO:<x@y.test>", "a\nb", "a\0b", "a\x7fb"])
def test_no_command_holds_a_control_character(local: str) -> None:
    with pytest.raises(InvalidInput):
        rcpt_command(Recipient(address=EmailAddress(local, "far.test")), EVERYTHING)
    with pytest.raises(InvalidInput):
        mail_command(Envelope(sender=ANNA, envelope_id=local), Demands(size=1), EVERYTHING)


@pytest.mark.parametrize(
    ("demands", "lines", "status"),
    [
        (Demands(size=5), (), None),
        (Demands(size=5, utf8_header=True), (), None),
        (Demands(size=5, eight_bit=True), (), "5.6.3"),
        (Demands(size=5, eight_bit=True), ("8BITMIME",), None),
        (Demands(size=5, smtputf8=True), ("8BITMIME",), "5.6.7"),
        (Demands(size=5, require_tls=True), ("SMTPUTF8",), "5.7.30"),
        (Demands(size=5), ("SIZE 5",), None),
        (Demands(size=6), ("SIZE 5",), "5.3.4"),
        (Demands(size=6), ("SIZE 0",), None),
    ],
)
def test_what_keeps_a_message_from_a_server(demands: Demands, lines: tuple[str, ...], status: str | None) -> None:
    found = obstacle(demands, features(*lines))
    assert (found and found.status) == status
    assert found is None or len(found.text) > 30, "in words"


# The transaction

MAIL, RCPT = b"MAIL FROM:<a@b.c>\r\n", b"RCPT TO:<x@y.z>\r\n"
PLAIN, PIPELINING = Features(), Features(pipelining=True)
CHUNKING, BOTH = Features(chunking=True), Features(pipelining=True, chunking=True)


def reply(code: int) -> RemoteReply:
    return RemoteReply(code, (b"words",))


def test_one_command_after_the_other_without_pipelining() -> None:
    transaction = Transaction(MAIL, [RCPT, RCPT], PLAIN, 5, reset=True)
    for command, code in [(b"RSET\r\n", 250), (MAIL, 250), (RCPT, 250), (RCPT, 550), (b"DATA\r\n", 354)]:
        assert transaction.octets() == command
        assert transaction.octets() == b""
        assert not transaction.due
        transaction.receive(reply(code))
    assert transaction.due
    assert transaction.octets() == transaction.chunk_header() == b""
    transaction.content_ends()
    transaction.receive(reply(250))
    assert transaction.done
    assert transaction.clean
    assert [answer and (answer[0], answer[1].code) for answer in map(transaction.answer, range(2))] == [
        (Stage.END, 250), (Stage.RCPT, 550)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given_features", "together", "first"),
    [
        (PIPELINING, True, MAIL + RCPT + RCPT + b"DATA\r\n"),
        (BOTH, False, MAIL + RCPT + RCPT),
        (BOTH, True, MAIL + RCPT + RCPT + b"BDAT 5 LAST\r\n"),
        (CHUNKING, True, MAIL),
    ],
)
def test_what_goes_in_the_first_write(given_features: Features, together: bool, first: bytes) -> None:
    transaction = Transaction(MAIL, [RCPT, RCPT], given_features, 5, together=together)
    assert transaction.octets() == first
    assert transaction.due == (together and given_features is BOTH)


def test_nobody_is_accepted_and_data_is_all_the_same() -> None:
    """RFC 2920 §3.1: a lone dot."""
    transaction = Transaction(MAIL, [RCPT], PIPELINING, 5)
    transaction.octets()
    for code in (250, 550, 354):
        transaction.receive(reply(code))
    assert (transaction.due, transaction.done) == (False, False)
    assert transaction.octets() == b".\r\n"
    transaction.receive(reply(554))
    assert (transaction.done, transaction.clean) == (True, False)
    answer = transaction.answer(0)
    assert answer is not None
    assert answer[0] is Stage.RCPT


@pytest.mark.parametrize("given_features", [PLAIN, PIPELINING, CHUNKING, BOTH])
def test_mail_is_refused(given_features: Features) -> None:
    transaction = Transaction(MAIL, [RCPT], given_features, 5)
    sent = transaction.octets()
    transaction.receive(reply(550))
    for _ in range(sent.count(b"\r\n") - 1):
        transaction.receive(reply(503))
    assert transaction.done
    assert not transaction.due
    answer = transaction.answer(0)
    assert answer is not None
    assert answer[0] is Stage.MAIL
    assert not transaction.ended


def test_goodbye_in_the_middle_is_the_answer_for_all_that_have_none() -> None:
    transaction = Transaction(MAIL, [RCPT, RCPT], PIPELINING, 5)
    transaction.octets()
    transaction.receive(reply(250))
    transaction.receive(reply(550))
    transaction.receive(reply(421))
    assert transaction.done
    assert [answer and answer[1].code for answer in map(transaction.answer, range(2))] == [550, 421]


def test_a_refusal_before_the_message_is_whole_is_its_end() -> None:
    transaction = Transaction(MAIL, [RCPT], CHUNKING, 500_000)
    for code in (250, 250):
        transaction.octets()
        transaction.receive(reply(code))
    assert transaction.due
    transaction.receive(reply(552))
    assert transaction.done
    assert transaction.torn
    answer = transaction.answer(0)
    assert answer is not None
    assert answer[1].code == 552


@pytest.mark.parametrize("code", [250, 354])
def test_good_news_before_the_message_is_whole_is_no_news(code: int) -> None:
    transaction = Transaction(MAIL, [RCPT], PIPELINING, 5)
    transaction.octets()
    for earlier in (250, 250, 354):
        transaction.receive(reply(earlier))
    with pytest.raises(BadReply):
        transaction.receive(reply(code))


def test_data_that_is_answered_with_250_is_nonsense() -> None:
    transaction = Transaction(MAIL, [RCPT], PIPELINING, 5)
    transaction.octets()
    for code in (250, 250):
        transaction.receive(reply(code))
    with pytest.raises(BadReply):
        transaction.receive(reply(250))


@given(
    st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 5),
    st.lists(st.sampled_from([250, 251, 354, 421, 450, 452, 550, 552]), min_size=20, max_size=20),
)  # fmt: skip
def test_whatever_is_replied_everyone_gets_one_true_answer(
    pipelining: bool, chunking: bool, together: bool, reset: bool, count: int, codes: list[int]
) -> None:
    transaction = Transaction(
        MAIL, [RCPT] * count, Features(pipelining=pipelining, chunking=chunking), 5, together=together, reset=reset
    )
    expected: list[str] = []
    said: list[tuple[str, int]] = []
    codes = list(codes)
    try:
        while not transaction.done:
            octets = transaction.octets()
            expected += [line.split(b" ")[0].strip().decode() for line in octets.split(b"\r\n") if line]
            if transaction.due:
                expected += ["BDAT"] if transaction.chunk_header() else []
                transaction.content_ends()
                if not chunking:
                    expected.append("END")
                continue
            assert expected, "it waits for a reply that nobody owes"
            said.append((expected.pop(0), codes.pop(0)))
            transaction.receive(reply(said[-1][1]))
    except BadReply:
        return
    kept = said[-1] in (("END", 250), ("BDAT", 250), ("END", 251), ("BDAT", 251)) and not transaction.closing
    mail = [code for verb, code in said if verb == "MAIL"]
    rcpt = [code for verb, code in said if verb == "RCPT"]
    for index in range(count):
        answer = transaction.answer(index)
        assert answer is not None
        delivered = answer[0] is Stage.END and answer[1].positive
        wanted = kept and mail[0] < 300 and index < len(rcpt) and rcpt[index] < 300
        assert delivered == wanted, (said, index)


# Content


@given(st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n", b"\r\n.\r\n", b"x.y"]), max_size=12), st.integers(1, 4))
def test_stuffing_in_pieces_is_stuffing_at_once_and_comes_back(parts: list[bytes], size: int) -> None:
    content = b"".join(parts) + b"\r\n"
    stuffer = Stuffer()
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    sent = b"".join(stuffer.feed(piece) for piece in pieces[:-1])
    sent += stuffer.feed(pieces[-1], last=True)
    assert sent == stuff(content)
    reader = DotReader()
    assert reader.feed(sent) == content
    assert reader.done
    assert reader.rest == b""


# AUTH


def test_plain_and_login() -> None:
    plain = choose({"PLAIN", "LOGIN"}, "anna", "geheim", "n")
    assert plain is not None
    assert (plain.name, plain.first) == ("PLAIN", b"\0anna\0geheim")
    with pytest.raises(AuthFailed):
        plain.answer(b"more?")
    login = choose({"LOGIN", "GSSAPI"}, "anna", "geheim", "n")
    assert login is not None
    assert (login.name, login.first) == ("LOGIN", None)
    assert [login.answer(b"Username:"), login.answer(b"Password:")] == [b"anna", b"geheim"]
    with pytest.raises(AuthFailed):
        login.answer(b"Favourite colour:")
    assert choose({"GSSAPI"}, "anna", "geheim", "n") is None


def test_scram_is_preferred_and_proves_both_sides() -> None:
    """The example of RFC 7677 §3."""
    scram = choose({"PLAIN", "SCRAM-SHA-256"}, "user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    assert scram is not None
    assert scram.first == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert scram.answer(first) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    with pytest.raises(AuthFailed):
        scram.finish()
    assert scram.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    scram.finish()


@pytest.mark.parametrize(
    "first",
    [
        b"", b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", b"r=nonce,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"r=nonce1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", b"r=nonce1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=999999999",
        b"r=nonce1,s=***,i=4096", b"r=nonce1,s=" + b"A" * 5000 + b",i=4096", b"m=ext,r=nonce1,s=AAAA,i=4096",
    ],
)  # fmt: skip
def test_scram_with_a_server_that_is_none(first: bytes) -> None:
    scram = choose({"SCRAM-SHA-256"}, "user", "pencil", "nonce")
    assert scram is not None
    with pytest.raises(AuthFailed):
        scram.answer(first)


def test_scram_with_a_server_that_does_not_know_the_password() -> None:
    scram = choose({"SCRAM-SHA-256"}, "us=e,r", "pencil", "nonce")
    assert scram is not None
    assert scram.first == b"n,,n=us=3De=2Cr,r=nonce"
    scram.answer(b"r=nonce1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    wrong = hmac.digest(hashlib.sha256(b"guess").digest(), b"x", "sha256")
    with pytest.raises(AuthFailed):
        scram.answer(b"v=" + base64.b64encode(wrong))
