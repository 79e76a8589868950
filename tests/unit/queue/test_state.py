from __future__ import annotations

import math
import zlib

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.ids import QueueId
from mailserver.ports.reports import Action
from mailserver.queue.codec import Damaged
from mailserver.queue.record import Done, Dot, Fail, Free, Hold, New, Plan, Record, Told, Try
from mailserver.queue.state import Item, apply, beginning

LATER = Result(outcome=Outcome.DEFERRED, status="4.2.0", reply="450 later", code=450, remote="mx.x.test")
SENT = Result(outcome=Outcome.DELIVERED, status="2.0.0", reply="250 ok", code=250, success=Success.PASSED_ON)
NO = Result(outcome=Outcome.FAILED, status="5.1.1", reply="550 no", code=550, tls="TLSv1.3", policy="dane")


def simple(recipients: int = 3, hold_until: float | None = None) -> New:
    people = tuple(Recipient(address=EmailAddress.parse(f"r{i}@example.test")) for i in range(recipients))
    envelope = Envelope(sender=None, recipients=people, hold_until=hold_until)
    return New(queue_id=QueueId("0123456789abcdef"), arrived=100.0, envelope=envelope, size=5, crc=zlib.crc32(b"hello"))


def test_at_the_beginning_everyone_waits_and_is_due() -> None:
    states = beginning(simple())
    assert [(state.waiting, state.due, state.attempts, state.doubtful) for state in states] == [(True, 0, 0, False)] * 3


def test_records_add_up() -> None:
    new = simple()
    states = apply(
        beginning(new),
        [
            Dot(at=110.0, recipients=(0, 1)),
            Done(at=111.0, recipients=(0,), result=SENT),
            Try(at=111.0, recipients=(1,), next_attempt=400.0, result=LATER),
            Fail(at=112.0, recipients=(2,), result=NO),
            Told(at=113.0, recipients=(2,), action=Action.FAILED, report_id=QueueId("0123456789abcdeg")),
        ],
    )
    assert Item(new=new, recipients=states).waiting == (1,)
    assert [state.result for state in states] == [SENT, LATER, NO]
    assert [state.at for state in states] == [111.0, 111.0, 112.0]
    assert [state.attempts for state in states] == [1, 1, 1]
    assert states[1].due == 400.0
    assert not any(state.doubtful for state in states)
    assert [state.was_told(Action.FAILED) for state in states] == [False, False, True]
    assert states[2].told == ((Action.FAILED, "0123456789abcdeg"),)
    assert not states[2].was_told(Action.DELAYED)


def test_a_dot_without_a_result_is_doubtful() -> None:
    dots: list[Record] = [Dot(at=110.0, recipients=(0, 2)), Done(at=111.0, recipients=(2,), result=SENT)]
    states = apply(beginning(simple()), dots)
    assert [state.doubtful for state in states] == [True, False, False]
    assert [state.waiting for state in states] == [True, True, False]
    (again, *_) = apply(states, [Try(at=1.0, recipients=(0,), next_attempt=2.0, result=LATER, doubtful=True)])
    assert again.doubtful
    (again, *_) = apply([again], [Try(at=1.0, recipients=(0,), next_attempt=2.0, result=LATER)])
    assert not again.doubtful


def test_a_hold_is_longer_than_a_plan_and_ends_with_free() -> None:
    states = beginning(simple(2, hold_until=500.0))
    assert [state.due for state in states] == [500.0, 500.0]
    states = apply(states, [Plan(at=1.0, recipients=(0,), next_attempt=900.0), Free(at=1.0, recipients=(1,))])
    assert [state.due for state in states] == [900.0, 0.0]
    states = apply(states, [Fail(at=2.0, recipients=(0,), result=NO), Hold(at=3.0)])
    assert [state.due for state in states] == [900.0, math.inf], "nobody named: all that wait, and no others"
    states = apply(states, [Hold(at=4.0, until=700.0)])
    assert states[1].due == 700.0
    states = apply(states, [Free(at=5.0), Plan(at=5.0, next_attempt=6.0)])
    assert states[1].due == 6.0


@pytest.mark.parametrize("position", [3, -1])
def test_a_recipient_that_is_not_there_is_damage(position: int) -> None:
    with pytest.raises(Damaged):
        apply(beginning(simple()), [Dot(at=1.0, recipients=(position,))])
