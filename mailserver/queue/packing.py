"""An `Item` as the few octets that are kept of it in memory, a hundred thousand times. No I/O.

JSON without names: what NEW says, but for the id, and the states of the recipients, where something was done. What
says nothing at the end of a list is left out, an account that is the sender's address is a 1, what TLS connections
mostly are is a number, and what was said of the message is compressed.
"""

from __future__ import annotations

import math
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import orjson

from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.ids import QueueId
from mailserver.ports.reports import Action
from mailserver.queue.codec import envelope_fields, envelope_of, storable
from mailserver.queue.record import New
from mailserver.queue.state import Item, RecipientState, beginning

__all__ = ["pack", "unpack"]

_SAME = 1
_FOR_GOOD = -1
#: Their places are what is kept in memory, never on the disk. Others are kept in full.
_OUTCOMES = tuple(Outcome)
_USUAL = (
    "", "opportunistic", "dane", "sts", "configuration", "TLSv1.3 TLS_AES_256_GCM_SHA384",
    "TLSv1.3 TLS_AES_128_GCM_SHA256", "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256", "TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384",
    "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384",
)  # fmt: skip
_PLACES = {text: place for place, text in enumerate(_USUAL)}


def pack(item: Item) -> bytes:
    """For `unpack`."""
    new = item.new
    fields = envelope_fields(new.envelope)
    sender, recipients, account = fields.pop("sender"), fields.pop("recipients"), fields.pop("account", 0)
    if "judged" in fields:
        fields["judged"] = b64encode(zlib.compress(orjson.dumps(fields["judged"]))).decode()
    only = recipients[0] if len(recipients) == 1 and isinstance(recipients[0], str) else recipients
    packed = orjson.dumps(_trimmed([
        new.arrived, new.size, new.crc, sender, only, _SAME if account and account == sender else account, fields,
        _states(item.recipients, new),
    ]))  # fmt: skip
    # A copy: what orjson returns keeps the room (1 KiB and more) in which it was made.
    return memoryview(packed).tobytes()


def unpack(queue_id: QueueId, packed: bytes) -> Item:
    """The item again."""
    arrived, size, crc, sender, recipients, account, fields, states = _filled(orjson.loads(packed), 8)
    fields = {
        **(fields or {}), "sender": sender, "recipients": [recipients] if isinstance(recipients, str) else recipients,
    }  # fmt: skip
    if "judged" in fields:
        fields["judged"] = orjson.loads(zlib.decompress(b64decode(fields["judged"])))
    if account:
        fields["account"] = sender if account == _SAME else account
    new = New(queue_id=queue_id, arrived=arrived, envelope=envelope_of(fields), size=size, crc=crc)
    first = beginning(new)
    if not states:
        return Item(new=new, recipients=first)
    after = tuple(_state(given) if given else untouched for untouched, given in zip(first, states, strict=True))
    return Item(new=new, recipients=after)


def _trimmed(fields: list[Any]) -> list[Any]:
    """Without what says nothing at the end."""
    while fields and not fields[-1]:
        fields.pop()
    return fields


def _filled(fields: list[Any], count: int, nothing: Any = 0) -> list[Any]:
    """The opposite."""
    return fields + [nothing] * (count - len(fields))


def _states(states: Sequence[RecipientState], new: New) -> list[Any]:
    pairs = zip(states, beginning(new), strict=True)
    fields = [0 if state is first or state == first else _fields(state) for state, first in pairs]
    return fields if any(fields) else []


def _fields(state: RecipientState) -> list[Any]:
    result = state.result
    return _trimmed([
        # The first one says that there is something.
        state.attempts + 1, state.next_attempt, _FOR_GOOD if math.isinf(state.held_until) else state.held_until,
        state.at, [] if result is None else _result(result), int(state.doubtful),
        [(action.value, report_id) for action, report_id in state.told], state.released,
    ])  # fmt: skip


def _state(fields: list[Any]) -> RecipientState:
    attempts, next_attempt, held_until, at, result, doubtful, told, released = _filled(fields, 8)
    return RecipientState(
        attempts=attempts - 1,
        next_attempt=float(next_attempt),
        held_until=math.inf if held_until == _FOR_GOOD else float(held_until),
        released=float(released),
        doubtful=bool(doubtful),
        at=float(at),
        result=_result_of(result) if result else None,
        told=tuple((Action(action), report_id) for action, report_id in told or ()),
    )


def _result(result: Result) -> list[Any]:
    return _trimmed([
        _OUTCOMES.index(result.outcome) + 1, result.status, storable(result.reply), result.code,
        storable(result.remote), storable(result.address), _usual(result.tls), _usual(result.policy),
        "" if result.success is Success.RELAYED else result.success.value,
    ])  # fmt: skip


def _result_of(fields: list[Any]) -> Result:
    outcome, status, reply, code, remote, address, tls, policy, success = _filled(fields, 9, "")
    return Result(
        outcome=_OUTCOMES[outcome - 1], status=status, reply=reply, code=code or 0, remote=remote, address=address,
        tls=_USUAL[tls] if isinstance(tls, int) else tls, policy=_USUAL[policy] if isinstance(policy, int) else policy,
        success=Success(success or Success.RELAYED.value),
    )  # fmt: skip


def _usual(text: str) -> int | str:
    return _PLACES.get(text, "") or storable(text)
