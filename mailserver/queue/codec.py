"""The format of a queue file: values in, bytes out, and back. No I/O.

A file is one item:

    NEW record │ content, as many octets as NEW says │ further records, appended as things happen

and a record is a frame:

    marker (4 octets) │ kind (4, ASCII) │ payload length (4, big-endian) │ CRC-32 (4) │ payload: JSON in UTF-8

The CRC covers kind, length and payload. Text of strangers (a remote server's reply) is inside JSON inside a counted
frame, so nothing in it can be taken for structure (ATTACKS F02). What has its default value is left out.

What may be wrong with a file, and what it means:

* NEW damaged, or content shorter than NEW says: the item cannot be trusted (`Damaged`).
* The last record incomplete or with a bad CRC: an append that a crash cut off. It was never acted upon; it is cut.
* A bad record with a good one after it: damage, not a crash (`Damaged`).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import orjson

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.envelope import Body, DsnReturn, Envelope, Notify, Recipient
from mailserver.model.errors import InvalidInput
from mailserver.model.findings import Judgement
from mailserver.model.ids import QueueId
from mailserver.ports.reports import Action
from mailserver.queue.judgements import judgement_fields, judgements_of
from mailserver.queue.record import Done, Dot, Fail, Free, Hold, New, Plan, Record, Told, Try

__all__ = [
    "FRAME_SIZE", "MAX_PAYLOAD", "Damaged", "Incomplete", "decode_new", "encode", "encode_new", "envelope_fields",
    "envelope_of", "read_new", "read_tail", "storable",
]  # fmt: skip

_MARKER = b"\xf5MQ\n"
_FRAME = struct.Struct(">4s4sII")
FRAME_SIZE = _FRAME.size
#: 2,000 recipients with the longest address and ORCPT each stay below it.
MAX_PAYLOAD = 4 << 20
#: A remote reply is kept in this length at most; it is written once per attempt.
_MAX_TEXT = 1000
#: Further fields of the envelope: their names in the file, and here.
_OPTIONAL = (
    ("declared_size", "declared_size"), ("smtputf8", "smtputf8"), ("require_tls", "require_tls"),
    ("envid", "envelope_id"), ("auth", "authenticated_as"), ("extra", "extra"), ("account", "account"),
    ("own", "own"), ("hold_until", "hold_until"),
    ("hold_request", "hold_request"),
)  # fmt: skip
_NOTHING: frozenset[Notify] = frozenset()

_KINDS: dict[type[Record], bytes] = {
    Try: b"TRY ", Dot: b"DOT ", Done: b"DONE", Fail: b"FAIL", Hold: b"HOLD", Free: b"FREE", Plan: b"PLAN",
    Told: b"TOLD",
}  # fmt: skip
#: What a result of the first format, which kept the reply alone, is taken for.
_OUTCOMES = {
    b"TRY ": (Outcome.DEFERRED, "4.0.0"), b"DONE": (Outcome.DELIVERED, "2.0.0"), b"FAIL": (Outcome.FAILED, "5.0.0"),
}  # fmt: skip


class Damaged(Exception):
    """The bytes are not what was written."""


class Incomplete(Exception):
    """More bytes are needed: at least `needed` from the start of the file."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} octets are needed")
        self.needed = needed


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
    """The NEW record. Its length does not depend on `crc`, which may be known only when the content has been written.

    Raises:
        InvalidInput: the envelope is larger than a record may be.
    """
    fields = {
        "id": new.queue_id, "arrived": new.arrived, "size": new.size, "crc": f"{new.crc:08x}",
        **envelope_fields(new.envelope),
    }  # fmt: skip
    try:
        payload = orjson.dumps(fields)
    except TypeError as error:
        raise InvalidInput("the envelope is not valid UTF-8", detail=str(error)) from error
    if len(payload) > MAX_PAYLOAD:
        raise InvalidInput("the envelope is too large for the queue", status="5.3.4")
    return _frame(b"NEW ", payload)


def envelope_fields(envelope: Envelope) -> dict[str, Any]:
    """An envelope for JSON: what has its default is left out, but for the sender and the recipients."""
    fields: dict[str, Any] = {
        "sender": None if envelope.sender is None else str(envelope.sender),
        "recipients": [_recipient_field(recipient) for recipient in envelope.recipients],
    }
    if envelope.body is not Body.SEVEN_BIT:
        fields["body"] = envelope.body.value
    if envelope.dsn_return is not None:
        fields["ret"] = envelope.dsn_return.value
    for name, attribute in _OPTIONAL:
        value = getattr(envelope, attribute)
        # 0 is a time and a size; False and () are what is meant when there is nothing.
        if value is not None and value is not False and value != ():
            fields[name] = value
    if envelope.judgements:
        fields["judged"] = judgement_fields(envelope.judgements)
    return fields


def _recipient_field(recipient: Recipient) -> str | list[Any]:
    if not recipient.notify and recipient.original_recipient is None:
        return str(recipient.address)
    notify = sorted(word.value for word in recipient.notify)
    return [str(recipient.address), notify, recipient.original_recipient]


def encode(record: Record) -> bytes:
    """A record to append."""
    fields: dict[str, Any] = {"at": record.at, "to": record.recipients}
    if isinstance(record, Try | Done | Fail):
        fields |= _result_fields(record.result)
    if isinstance(record, Try | Plan):
        fields["next"] = record.next_attempt
        if isinstance(record, Try) and record.doubtful:
            fields["doubtful"] = True
    elif isinstance(record, Hold):
        fields["until"] = record.until
    elif isinstance(record, Told):
        fields["action"] = record.action.value
        fields["report"] = record.report_id
    return _frame(_KINDS[type(record)], orjson.dumps(fields))


def _result_fields(result: Result) -> dict[str, Any]:
    """A result for JSON, without its outcome and what is not known."""
    fields: dict[str, Any] = {"status": result.status, "reply": storable(result.reply)}
    if result.code:
        fields["code"] = result.code
    for name in ("remote", "address", "tls", "policy"):
        if value := getattr(result, name):
            fields[name] = storable(value)
    if result.success is not Success.RELAYED:
        fields["success"] = result.success.value
    return fields


def _result_of(outcome: Outcome, fields: dict[str, Any], status: str = "") -> Result:
    """The opposite. Raises KeyError, ValueError, TypeError."""
    return Result(
        outcome=outcome,
        status=str(fields.get("status", status)),
        reply=str(fields["reply"]),
        code=int(fields.get("code", 0)),
        remote=str(fields.get("remote", "")),
        address=str(fields.get("address", "")),
        tls=str(fields.get("tls", "")),
        policy=str(fields.get("policy", "")),
        success=Success(fields.get("success", Success.RELAYED.value)),
    )


def storable(text: str) -> str:
    """A stranger's text may hold what is not UTF-8; it is kept for people to read, not to be compared."""
    return text[:_MAX_TEXT].encode(errors="replace").decode()


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
    return decode_new(frame[1]), frame[2]


def decode_new(payload: bytes) -> New:
    """What the payload of a NEW record says. Raises Damaged."""
    try:
        return _new_of(orjson.loads(payload))
    except (ValueError, LookupError, TypeError, AttributeError, InvalidInput) as error:
        raise Damaged(f"the NEW record makes no sense: {type(error).__name__}") from error


def _new_of(fields: dict[str, Any]) -> New:
    size = fields["size"]
    if not isinstance(size, int) or size < 0:
        raise ValueError("size")
    return New(
        queue_id=QueueId(fields["id"]),
        arrived=float(fields["arrived"]),
        envelope=envelope_of(fields),
        size=size,
        crc=int(fields["crc"], 16),
    )


def envelope_of(fields: dict[str, Any]) -> Envelope:
    """The opposite. Raises LookupError, ValueError, TypeError, AttributeError, InvalidInput."""
    get = fields.get
    sender, ret, hold_until = fields["sender"], get("ret"), get("hold_until")
    return Envelope(
        sender=None if sender is None else EmailAddress.parse(sender),
        recipients=tuple(map(_recipient_of, fields["recipients"])),
        declared_size=get("declared_size"),
        body=Body(get("body", Body.SEVEN_BIT.value)),
        smtputf8=bool(get("smtputf8", False)),
        require_tls=bool(get("require_tls", False)),
        dsn_return=None if ret is None else DsnReturn(ret),
        envelope_id=get("envid"),
        authenticated_as=get("auth"),
        extra=tuple((name, value) for name, value in get("extra", ())),
        account=get("account"),
        own=bool(get("own", False)),
        hold_until=None if hold_until is None else float(hold_until),
        hold_request=get("hold_request"),
        judgements=_judgements_of(fields),
    )


def _judgements_of(fields: dict[str, Any]) -> tuple[Judgement, ...]:
    if "judged" in fields:
        return judgements_of(fields["judged"])
    # As it was written before reasons were kept.
    return (Judgement(findings=None, quarantined=True),) if fields.get("quarantined", False) else ()


def _recipient_of(field: str | list[Any]) -> Recipient:
    if isinstance(field, str):
        return Recipient(address=EmailAddress.parse(field))
    address, notify, original = field
    return Recipient(
        address=EmailAddress.parse(address),
        notify=frozenset(map(Notify, notify)) if notify else _NOTHING,
        original_recipient=original,
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
    if kind == b"DOT ":
        return Dot(at=at, recipients=recipients)
    if kind == b"HOLD":
        until = fields["until"]
        return Hold(at=at, recipients=recipients, until=None if until is None else float(until))
    if kind == b"FREE":
        return Free(at=at, recipients=recipients)
    if kind == b"PLAN":
        return Plan(at=at, recipients=recipients, next_attempt=float(fields["next"]))
    if kind == b"TOLD":
        return Told(at=at, recipients=recipients, action=Action(fields["action"]), report_id=fields["report"])
    if kind not in _OUTCOMES:
        raise ValueError("kind")
    result = _result_of(_OUTCOMES[kind][0], fields, _OUTCOMES[kind][1])
    if kind == b"DONE":
        return Done(at=at, recipients=recipients, result=result)
    if kind == b"FAIL":
        return Fail(at=at, recipients=recipients, result=result)
    return Try(
        at=at, recipients=recipients, next_attempt=float(fields["next"]), result=result,
        doubtful=bool(fields.get("doubtful", False)),
    )  # fmt: skip
