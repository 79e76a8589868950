from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.envelope import Body, DsnReturn, Envelope, Notify, Recipient
from mailserver.model.findings import AuthResult, Findings, Judgement, Reason
from mailserver.model.ids import AccountId, QueueId
from mailserver.ports.reports import Action
from mailserver.queue.codec import (
    FRAME_SIZE,
    Damaged,
    Incomplete,
    encode,
    encode_new,
    read_new,
    read_tail,
)
from mailserver.queue.record import Done, Dot, Fail, Free, Hold, New, Plan, Record, Told, Try
from mailserver.queue.state import apply, beginning

ADDRESSES = st.sampled_from(
    ["a@x.test", '"odd \\" local"@x.test', "grüße@xn--bcher-kva.test", "x@[192.0.2.1]", "y@[IPv6:2001:db8::1]"]
).map(EmailAddress.parse)
XTEXT = st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50)
RECIPIENTS = st.builds(
    Recipient, address=ADDRESSES, notify=st.frozensets(st.sampled_from(Notify)), original_recipient=XTEXT
)
WORDS = st.text("äb ", max_size=5)
FINDINGS = st.builds(
    Findings,
    st.lists(st.builds(
        AuthResult, method=st.sampled_from(["spf", "dkim"]), result=st.sampled_from(["pass", "fail"]), reason=WORDS,
        properties=st.lists(st.tuples(st.just("header.d"), WORDS), max_size=2).map(tuple),
    ), max_size=3).map(tuple),
    st.lists(st.builds(Reason, WORDS, st.floats(-9, 9), WORDS, WORDS), max_size=3).map(tuple),
)  # fmt: skip
JUDGEMENTS = st.lists(
    st.builds(
        Judgement, account=st.sampled_from(["", "anna@example.test", "ben@example.test"]),
        findings=st.none() | FINDINGS, quarantined=st.booleans(), refusal=WORDS,
    ), max_size=3,
).map(tuple)  # fmt: skip
ENVELOPES = st.builds(
    Envelope,
    sender=st.none() | ADDRESSES,
    recipients=st.lists(RECIPIENTS, min_size=1, max_size=5).map(tuple),
    declared_size=st.none() | st.integers(0, 1 << 40),
    body=st.sampled_from(Body),
    smtputf8=st.booleans(),
    require_tls=st.booleans(),
    dsn_return=st.none() | st.sampled_from(DsnReturn),
    envelope_id=XTEXT,
    authenticated_as=st.none() | st.just("a@example.test"),
    account=st.none() | st.just(AccountId("anna@example.test")),
    own=st.booleans(),
    hold_until=st.none() | st.floats(0, 4e9),
    hold_request=st.sampled_from([None, "for;60"]),
    judgements=JUDGEMENTS,
    extra=st.lists(st.tuples(st.text("AB", max_size=3), st.text("xyz", max_size=3)), max_size=2).map(tuple),
)
ITEMS = st.builds(
    New,
    queue_id=st.just(QueueId("0123456789abcdef")),
    arrived=st.floats(0, 4e9),
    envelope=ENVELOPES,
    size=st.integers(0, 1 << 40),
    crc=st.integers(0, 0xFFFFFFFF),
)
TIMES = st.floats(0, 4e9)
POSITIONS = st.lists(st.integers(0, 4), max_size=5, unique=True).map(tuple)
REPLIES = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


def results(outcome: Outcome) -> st.SearchStrategy[Result]:
    return st.builds(
        Result,
        outcome=st.just(outcome),
        status=st.sampled_from(["2.0.0", "4.4.1", "5.1.1"]),
        reply=REPLIES,
        code=st.sampled_from([0, 250, 451, 550]),
        remote=st.sampled_from(["", "mx.other.test"]),
        address=st.sampled_from(["", "192.0.2.1"]),
        tls=st.sampled_from(["", "TLSv1.3 TLS_AES_256_GCM_SHA384"]),
        policy=st.sampled_from(["", "dane"]),
        success=st.sampled_from(Success),
    )


RECORDS = st.one_of(
    st.builds(
        Try, at=TIMES, recipients=POSITIONS, next_attempt=TIMES, result=results(Outcome.DEFERRED),
        doubtful=st.booleans(),
    ),
    st.builds(Dot, at=TIMES, recipients=POSITIONS),
    st.builds(Done, at=TIMES, recipients=POSITIONS, result=results(Outcome.DELIVERED)),
    st.builds(Fail, at=TIMES, recipients=POSITIONS, result=results(Outcome.FAILED)),
    st.builds(Hold, at=TIMES, recipients=POSITIONS, until=st.none() | TIMES),
    st.builds(Free, at=TIMES, recipients=POSITIONS),
    st.builds(Plan, at=TIMES, recipients=POSITIONS, next_attempt=TIMES),
    st.builds(
        Told, at=TIMES, recipients=POSITIONS, action=st.sampled_from(Action),
        report_id=st.none() | st.just(QueueId("0123456789abcdeg")),
    ),
)  # fmt: skip


def simple(recipients: int = 3) -> New:
    people = tuple(Recipient(address=EmailAddress.parse(f"r{i}@example.test")) for i in range(recipients))
    envelope = Envelope(sender=EmailAddress.parse("s@example.test"), recipients=people)
    return New(queue_id=QueueId("0123456789abcdef"), arrived=100.0, envelope=envelope, size=5, crc=zlib.crc32(b"hello"))


@given(ITEMS)
@settings(max_examples=100)
def test_new_round_trip(new: New) -> None:
    data = encode_new(new)
    assert read_new(data, whole=True) == (new, len(data))
    assert read_new(data + b"the content", whole=False) == (new, len(data))


@given(ITEMS, st.integers(0, 0xFFFFFFFF))
@settings(max_examples=50)
def test_length_of_new_does_not_depend_on_the_crc(new: New, crc: int) -> None:
    other = New(queue_id=new.queue_id, arrived=new.arrived, envelope=new.envelope, size=new.size, crc=crc)
    assert len(encode_new(other)) == len(encode_new(new))


@given(st.lists(RECORDS, max_size=6))
@settings(max_examples=100)
def test_tail_round_trip(records: list[Record]) -> None:
    data = b"".join(map(encode, records))
    assert read_tail(data) == (records, len(data))


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
@settings(max_examples=150)
def test_a_cut_tail_gives_the_whole_records_before_the_cut(records: list[Record], data: st.DataObject) -> None:
    frames = [encode(record) for record in records]
    tail = b"".join(frames)
    cut = data.draw(st.integers(0, len(tail)))
    kept, sound = read_tail(tail[:cut])
    assert kept == records[: len(kept)]
    assert sound == sum(map(len, frames[: len(kept)]))
    assert len(kept) == len(records) or sound + len(frames[len(kept)]) > cut


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
@settings(max_examples=200)
def test_a_flipped_bit_cuts_the_last_record_or_condemns_the_tail(records: list[Record], data: st.DataObject) -> None:
    frames = [encode(record) for record in records]
    tail = bytearray(b"".join(frames))
    at = data.draw(st.integers(0, len(tail) - 1))
    tail[at] ^= 1 << data.draw(st.integers(0, 7))
    if at < len(tail) - len(frames[-1]):
        with pytest.raises(Damaged):
            read_tail(bytes(tail))
    else:
        assert read_tail(bytes(tail)) == (records[:-1], len(tail) - len(frames[-1]))


@given(ITEMS, st.data())
@settings(max_examples=200)
def test_a_flipped_bit_in_new_is_always_found(new: New, data: st.DataObject) -> None:
    raw = bytearray(encode_new(new))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged):
        read_new(bytes(raw), whole=True)


def test_a_long_new_asks_for_what_it_needs() -> None:
    data = encode_new(simple(1000))
    for length in range(FRAME_SIZE, len(data), 1000):
        with pytest.raises(Incomplete) as more:
            read_new(data[:length], whole=False)
        assert more.value.needed == len(data)
    with pytest.raises(Damaged):
        read_new(data[:-1], whole=True)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_foreign_bytes_are_damage_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Damaged):
        read_new(data, whole=True)
    assert read_tail(data) == ([], 0)


def test_zeros_after_a_power_loss_are_a_torn_tail() -> None:
    record = encode(Dot(at=1.0, recipients=(0,)))
    assert read_tail(record + bytes(4096)) == ([Dot(at=1.0, recipients=(0,))], len(record))


def test_f02_a_reply_cannot_forge_structure() -> None:
    sent = Result(outcome=Outcome.DELIVERED, status="2.0.0", reply="250 ok")
    forged = encode(Done(at=1.0, recipients=(0, 1, 2), result=sent)).decode("latin-1")
    reply = "550 no\r\n" + forged + "\x00\n\u2028 \udc80"
    later = Result(outcome=Outcome.DEFERRED, status="4.0.0", reply=reply, remote=reply, tls=reply)
    records, _ = read_tail(encode(Try(at=2.0, recipients=(0,), next_attempt=3.0, result=later)))
    assert [type(record) for record in records] == [Try]
    assert all(state.waiting for state in apply(beginning(simple()), records))


def test_a_very_long_reply_is_cut() -> None:
    later = Result(outcome=Outcome.DEFERRED, status="4.0.0", reply="x" * 100_000)
    records, _ = read_tail(encode(Try(at=2.0, recipients=(0,), next_attempt=3.0, result=later)))
    assert isinstance(records[0], Try)
    assert len(records[0].result.reply) == 1000


def old_frame(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(kind + struct.pack(">I", len(payload))))
    return struct.pack(">4s4sII", b"\xf5MQ\n", kind, len(payload), crc) + payload


def test_files_of_the_first_format_are_read() -> None:
    """As they were written before results, holds and accounts were in them: every field there, a reply alone."""
    new, _ = read_new(
        old_frame(
            b"NEW ",
            b'{"id":"0123456789abcdef","arrived":100.5,"size":5,"crc":"3610a686","sender":"s@example.test",'
            b'"recipients":[["r@example.test",["FAILURE"],"rfc822;x"],["q@example.test",[],null]],'
            b'"declared_size":null,"body":"8BITMIME","smtputf8":false,"require_tls":true,"ret":"HDRS","envid":"E1",'
            b'"auth":null,"extra":[["MT","1"]]}',
        ),
        whole=True,
    )
    assert (new.queue_id, new.arrived, new.size, new.crc) == ("0123456789abcdef", 100.5, 5, 0x3610A686)
    assert new.envelope == Envelope(
        sender=EmailAddress.parse("s@example.test"),
        recipients=(
            Recipient(
                address=EmailAddress.parse("r@example.test"), notify=frozenset({Notify.FAILURE}),
                original_recipient="rfc822;x",
            ),
            Recipient(address=EmailAddress.parse("q@example.test")),
        ),
        body=Body.EIGHT_BIT_MIME, require_tls=True, dsn_return=DsnReturn.HEADERS, envelope_id="E1",
        extra=(("MT", "1"),),
    )  # fmt: skip
    tail = (
        old_frame(b"DOT ", b'{"at":1.0,"to":[0,1]}')
        + old_frame(b"TRY ", b'{"at":2.0,"to":[0],"reply":"450 later","next":300.0}')
        + old_frame(b"DONE", b'{"at":2.0,"to":[1],"reply":"250 ok"}')
        + old_frame(b"FAIL", b'{"at":3.0,"to":[0],"reply":"550 no","status":"5.1.1"}')
    )
    records, sound = read_tail(tail)
    assert sound == len(tail)
    assert records == [
        Dot(at=1.0, recipients=(0, 1)),
        Try(
            at=2.0, recipients=(0,), next_attempt=300.0,
            result=Result(outcome=Outcome.DEFERRED, status="4.0.0", reply="450 later"),
        ),
        Done(at=2.0, recipients=(1,), result=Result(outcome=Outcome.DELIVERED, status="2.0.0", reply="250 ok")),
        Fail(at=3.0, recipients=(0,), result=Result(outcome=Outcome.FAILED, status="5.1.1", reply="550 no")),
    ]  # fmt: skip
