from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Body, DsnReturn, Envelope, Notify, Recipient
from mailserver.model.ids import AccountId, QueueId
from mailserver.queue.record import (
    FRAME_SIZE,
    Damaged,
    Done,
    Dot,
    Fail,
    Incomplete,
    New,
    Record,
    Try,
    encode,
    encode_new,
    read_new,
    read_tail,
    replay,
)

ADDRESSES = st.sampled_from(
    ["a@x.test", '"odd \\" local"@x.test', "grüße@xn--bcher-kva.test", "x@[192.0.2.1]", "y@[IPv6:2001:db8::1]"]
).map(EmailAddress.parse)
XTEXT = st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50)
RECIPIENTS = st.builds(
    Recipient, address=ADDRESSES, notify=st.frozensets(st.sampled_from(Notify)), original_recipient=XTEXT
)
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
RECORDS = st.one_of(
    st.builds(Try, at=TIMES, recipients=POSITIONS, next_attempt=TIMES, reply=REPLIES),
    st.builds(Dot, at=TIMES, recipients=POSITIONS),
    st.builds(Done, at=TIMES, recipients=POSITIONS, reply=REPLIES),
    st.builds(Fail, at=TIMES, recipients=POSITIONS, reply=REPLIES, status=st.just("5.1.1")),
)


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
    forged = encode(Done(at=1.0, recipients=(0, 1, 2), reply="250 ok")).decode("latin-1")
    reply = "550 no\r\n" + forged + "\x00\n\u2028 \udc80"
    records, _ = read_tail(encode(Try(at=2.0, recipients=(0,), next_attempt=3.0, reply=reply)))
    assert [type(record) for record in records] == [Try]
    assert replay(simple(), records).waiting == (0, 1, 2)


def test_a_very_long_reply_is_cut() -> None:
    records, _ = read_tail(encode(Try(at=2.0, recipients=(0,), next_attempt=3.0, reply="x" * 100_000)))
    assert isinstance(records[0], Try)
    assert len(records[0].reply) == 1000


def test_replay_of_nothing_waits_for_everyone_at_once() -> None:
    state = replay(simple(), [])
    assert state.waiting == (0, 1, 2)
    assert (state.attempts, state.next_attempt, state.last_error, state.doubtful) == (0, 100.0, "", ())


def test_replay_adds_up() -> None:
    state = replay(
        simple(),
        [
            Dot(at=110.0, recipients=(0, 1)),
            Done(at=111.0, recipients=(0,), reply="250 ok"),
            Try(at=111.0, recipients=(1,), next_attempt=400.0, reply="450 later"),
            Fail(at=112.0, recipients=(2,), reply="550 no", status="5.1.1"),
        ],
    )
    assert state.waiting == (1,)
    assert (state.attempts, state.next_attempt, state.last_error) == (1, 400.0, "550 no")
    assert state.doubtful == ()


def test_a_dot_without_a_result_is_doubtful() -> None:
    state = replay(simple(), [Dot(at=110.0, recipients=(0, 2)), Done(at=111.0, recipients=(2,), reply="250 ok")])
    assert state.waiting == (0, 1)
    assert state.doubtful == (0,)
