"""The format of a queue file: values in, bytes out, and back. No I/O.

A file is one item:

    NEW record │ content, as many octets as NEW says │ TRY, DOT, DONE, FAIL records, appended as things happen

and a record is a frame:

    marker (4 octets) │ kind (4, ASCII) │ payload length (4, big-endian) │ CRC-32 (4) │ payload: JSON in UTF-8

The CRC covers kind, length and payload. Text of strangers (a remote server's reply) is inside JSON inside a counted
frame, so nothing in it can be taken for structure (ATTACKS F02). Recipients are named by their position in NEW.

What may be wrong with a file, and what it means:

* NEW damaged, or content shorter than NEW says: the item cannot be trusted (`Damaged`).
* The last record incomplete or with a bad CRC: an append that a crash cut off. It was never acted upon; it is cut.
* A bad record with a good one after it: damage, not a crash (`Damaged`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Body, DsnReturn, Envelope, Notify, Recipient
from mailserver.model.errors import InvalidInput
from mailserver.model.ids import QueueId

__all__ = [
    "FRAME_SIZE", "MAX_PAYLOAD", "Damaged", "Done", "Dot", "Fail", "Incomplete", "New", "Record", "State", "Try",
    "encode", "encode_new", "read_new", "read_tail", "replay",
]  # fmt: skip

_MARKER = b"\xf5MQ\n"
_FRAME = struct.Struct(">4s4sII")
FRAME_SIZE = _FRAME.size
#: 2,000 recipients with the longest address and ORCPT each stay below it.
MAX_PAYLOAD = 4 << 20
#: A remote reply is kept in this length at most; it is written once per attempt.
_MAX_TEXT = 1000


class Damaged(Exception):
    """The bytes are not what was written."""


class Incomplete(Exception):
    """More bytes are needed: at least `needed` from the start of the file."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} octets are needed")
        self.needed = needed


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """The item as it was accepted. `arrived` is in epoch seconds, `size` in octets, `crc` the content's CRC-32."""

    queue_id: QueueId
    arrived: float
    envelope: Envelope
    size: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """An attempt ended without a result for these recipients; the next one is due at `next_attempt`."""

    at: float
    recipients: tuple[int, ...]
    next_attempt: float
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """About to send the final dot for these recipients: without a result after it, they may have the message."""

    at: float
    recipients: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The next server has taken the message for these recipients."""

    at: float
    recipients: tuple[int, ...]
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """These recipients will not get the message; `status` is RFC 3463's x.y.z."""

    at: float
    recipients: tuple[int, ...]
    reply: str
    status: str


Record = Try | Dot | Done | Fail

_KINDS: dict[type[Record], bytes] = {Try: b"TRY ", Dot: b"DOT ", Done: b"DONE", Fail: b"FAIL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the records of an item add up to.

    `waiting`: recipients without a result. `doubtful`: those of them whose last word is a DOT: the message may have
    arrived (RFC 1047).
    """

    waiting: tuple[int, ...]
    doubtful: tuple[int, ...]
    attempts: int
    next_attempt: float
    last_error: str


def _frame(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(kind + len(payload).to_bytes(4, "big")))
    return _FRAME.pack(_MARKER, kind, len(payload), crc) + payload


def _unframe(data: bytes, start: int) -> tuple[bytes, bytes, int] | None:
    """Kind, payload and end of the frame at `start`; None if no whole, sound frame is there."""
    if len(data) - start < FRAME_SIZE:
        return None
    marker, kind, length, crc = _FRAME.unpack_from(data, start)
    end = start + FRAME_SIZE + length
    if marker != _MARKER or length > MAX_PAYLOAD or end > len(data):
        return None
    payload = data[start + FRAME_SIZE : end]
    if zlib.crc32(payload, zlib.crc32(data[start + 4 : start + 12])) != crc:
        return None
    return kind, payload, end


def encode_new(new: New) -> bytes:
    """The NEW record. Its length does not depend on `crc`, which is known only when the content has been written.

    Raises:
        InvalidInput: the envelope is larger than a record may be.
    """
    envelope = new.envelope
    fields = {
        "id": new.queue_id,
        "arrived": new.arrived,
        "size": new.size,
        "crc": f"{new.crc:08x}",
        "sender": None if envelope.sender is None else str(envelope.sender),
        "recipients": [
            [str(r.address), sorted(n.value for n in r.notify), r.original_recipient] for r in envelope.recipients
        ],
        "declared_size": envelope.declared_size,
        "body": envelope.body.value,
        "smtputf8": envelope.smtputf8,
        "require_tls": envelope.require_tls,
        "ret": None if envelope.dsn_return is None else envelope.dsn_return.value,
        "envid": envelope.envelope_id,
        "auth": envelope.authenticated_as,
        "extra": envelope.extra,
        "account": envelope.account,
        "own": envelope.own,
        "hold_until": envelope.hold_until,
    }
    try:
        payload = orjson.dumps(fields)
    except TypeError as error:
        raise InvalidInput("the envelope is not valid UTF-8", detail=str(error)) from error
    if len(payload) > MAX_PAYLOAD:
        raise InvalidInput("the envelope is too large for the queue", status="5.3.4")
    return _frame(b"NEW ", payload)


def encode(record: Record) -> bytes:
    """A record to append."""
    fields: dict[str, Any] = {"at": record.at, "to": record.recipients}
    if not isinstance(record, Dot):
        # A stranger's text may hold what is not UTF-8; it is kept for people to read, not to be compared.
        fields["reply"] = record.reply[:_MAX_TEXT].encode(errors="replace").decode()
    if isinstance(record, Try):
        fields["next"] = record.next_attempt
    elif isinstance(record, Fail):
        fields["status"] = record.status
    return _frame(_KINDS[type(record)], orjson.dumps(fields))


def read_new(data: bytes, whole: bool) -> tuple[New, int]:
    """The NEW record at the start of a file, and where the content begins. `whole`: there is no more than `data`.

    Raises:
        Incomplete: the record is longer than `data`, and there is more.
        Damaged: no sound NEW record.
    """
    if len(data) >= FRAME_SIZE:
        marker, kind, length, _ = _FRAME.unpack_from(data)
        if marker == _MARKER and kind == b"NEW " and length <= MAX_PAYLOAD and not whole:
            needed = FRAME_SIZE + length
            if needed > len(data):
                raise Incomplete(needed)
    frame = _unframe(data, 0)
    if frame is None or frame[0] != b"NEW ":
        raise Damaged("the NEW record is damaged")
    try:
        return _new_of(orjson.loads(frame[1])), frame[2]
    except (ValueError, KeyError, TypeError, AttributeError, InvalidInput) as error:
        raise Damaged(f"the NEW record makes no sense: {type(error).__name__}") from error


def _new_of(fields: dict[str, Any]) -> New:
    recipients = tuple(
        Recipient(
            address=EmailAddress.parse(address),
            notify=frozenset(Notify(word) for word in notify),
            original_recipient=original,
        )
        for address, notify, original in fields["recipients"]
    )
    envelope = Envelope(
        sender=None if fields["sender"] is None else EmailAddress.parse(fields["sender"]),
        recipients=recipients,
        declared_size=fields["declared_size"],
        body=Body(fields["body"]),
        smtputf8=bool(fields["smtputf8"]),
        require_tls=bool(fields["require_tls"]),
        dsn_return=None if fields["ret"] is None else DsnReturn(fields["ret"]),
        envelope_id=fields["envid"],
        authenticated_as=fields["auth"],
        extra=tuple((name, value) for name, value in fields["extra"]),
        account=fields.get("account"),
        own=bool(fields.get("own", False)),
        hold_until=None if fields.get("hold_until") is None else float(fields["hold_until"]),
    )
    size = fields["size"]
    if not isinstance(size, int) or size < 0:
        raise ValueError("size")
    return New(
        queue_id=QueueId(fields["id"]),
        arrived=float(fields["arrived"]),
        envelope=envelope,
        size=size,
        crc=int(fields["crc"], 16),
    )


def read_tail(data: bytes) -> tuple[list[Record], int]:
    """The records after the content, and how many octets of `data` they are; what follows is a torn append to be cut.

    Raises:
        Damaged: a bad record has a good one behind it, or a good one makes no sense.
    """
    records: list[Record] = []
    position = 0
    while position < len(data):
        frame = _unframe(data, position)
        if frame is None:
            if _another_frame(data, position + 1):
                raise Damaged("a record in the middle is damaged")
            break
        kind, payload, position = frame
        try:
            records.append(_record_of(kind, orjson.loads(payload)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"a record makes no sense: {type(error).__name__}") from error
    return records, position


def _another_frame(data: bytes, start: int) -> bool:
    at = data.find(_MARKER, start)
    while at >= 0:
        if _unframe(data, at) is not None:
            return True
        at = data.find(_MARKER, at + 1)
    return False


def _record_of(kind: bytes, fields: dict[str, Any]) -> Record:
    at = float(fields["at"])
    recipients = tuple(int(position) for position in fields["to"])
    if kind == b"TRY ":
        return Try(at=at, recipients=recipients, next_attempt=float(fields["next"]), reply=str(fields["reply"]))
    if kind == b"DOT ":
        return Dot(at=at, recipients=recipients)
    if kind == b"DONE":
        return Done(at=at, recipients=recipients, reply=str(fields["reply"]))
    if kind == b"FAIL":
        return Fail(at=at, recipients=recipients, reply=str(fields["reply"]), status=str(fields["status"]))
    raise ValueError("kind")


def replay(new: New, records: Iterable[Record]) -> State:
    """Add up the records of an item, in their order."""
    waiting = dict.fromkeys(range(len(new.envelope.recipients)))
    doubtful: dict[int, None] = {}
    attempts, next_attempt, last_error = 0, new.arrived, ""
    for record in records:
        if isinstance(record, Dot):
            doubtful |= dict.fromkeys(record.recipients)
            continue
        for position in record.recipients:
            doubtful.pop(position, None)
        if isinstance(record, Try):
            attempts, next_attempt, last_error = attempts + 1, record.next_attempt, record.reply
            continue
        for position in record.recipients:
            waiting.pop(position, None)
        if isinstance(record, Fail):
            last_error = record.reply
    return State(
        waiting=tuple(waiting),
        doubtful=tuple(position for position in waiting if position in doubtful),
        attempts=attempts,
        next_attempt=next_attempt,
        last_error=last_error,
    )
