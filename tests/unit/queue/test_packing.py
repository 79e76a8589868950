"""What is kept of an item in memory is little, and all of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.ids import AccountId, QueueId
from mailserver.ports.reports import Action
from mailserver.queue.codec import encode_new
from mailserver.queue.packing import pack, unpack
from mailserver.queue.record import New
from mailserver.queue.state import Item, RecipientState, beginning
from tests.helpers.queue import envelope_for

LATER = Result(outcome=Outcome.DEFERRED, status="4.2.0", reply="450 later", code=450, remote="mx.x.test")
SENT = Result(outcome=Outcome.DELIVERED, status="2.0.0", reply="250 ok", code=250, success=Success.PASSED_ON)
NO = Result(outcome=Outcome.FAILED, status="5.1.1", reply="550 no", code=550, tls="TLSv1.3", policy="dane")


def made(count: int = 3, sender: str | None = None, **more: Any) -> New:
    envelope = replace(envelope_for(*(f"p{number}@remote.test" for number in range(count)), sender=sender), **more)
    return New(queue_id=QueueId("0123456789abcdef"), arrived=100.0, envelope=envelope, size=5, crc=7)


STATES = st.builds(
    RecipientState,
    attempts=st.integers(0, 100),
    next_attempt=st.floats(0, 4e9),
    held_until=st.floats(0, 4e9) | st.just(math.inf),
    released=st.floats(0, 4e9),
    doubtful=st.booleans(),
    at=st.floats(0, 4e9),
    result=st.none() | st.sampled_from([LATER, SENT, NO]),
    told=st.lists(
        st.tuples(st.sampled_from(Action), st.none() | st.just(QueueId("0123456789abcdeg"))), max_size=2
    ).map(tuple),
)


@given(st.lists(STATES | st.just(RecipientState(held_until=7.0)), min_size=3, max_size=3))
def test_a_packed_item_is_the_same_item(states: list[RecipientState]) -> None:
    new = made(hold_until=7.0)
    item = Item(new=new, recipients=tuple(states))
    assert unpack(new.queue_id, pack(item)) == item


@pytest.mark.parametrize("account", [None, "anna@example.test", "0", "1", "ben@example.test"])
@pytest.mark.parametrize("sender", [None, "anna@example.test"])
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_left_out_of_it_comes_back(count: int, sender: str | None, account: str | None) -> None:
    owner = None if account is None else AccountId(account)
    for more in ({}, {"own": True}, {"extra": (("a", "b"),), "hold_until": 0.0, "declared_size": 0}):
        new = made(count, sender, account=owner, **more)
        last = RecipientState(attempts=1, result=SENT)
        for states in (beginning(new), (*beginning(new)[1:], last)):
            item = Item(new=new, recipients=states)
            assert unpack(new.queue_id, pack(item)) == item


@pytest.mark.parametrize("tls", ["", "TLSv1.3 TLS_AES_256_GCM_SHA384", "TLSv1.2 WHATEVER", "1"])
@pytest.mark.parametrize("success", Success)
def test_what_is_usual_is_a_number_in_it(tls: str, success: Success) -> None:
    new = made()
    for policy in ("", "dane", "of a plugin"):
        result = replace(SENT, tls=tls, policy=policy, success=success, remote="mx.test", address="192.0.2.1")
        item = Item(new=new, recipients=(RecipientState(attempts=1, result=result),) * len(new.envelope.recipients))
        assert unpack(new.queue_id, pack(item)) == item


def test_held_for_good_and_nothing_else() -> None:
    new = made()
    item = Item(new=new, recipients=(*beginning(new)[1:], RecipientState(held_until=math.inf)))
    assert unpack(new.queue_id, pack(item)) == item


def test_nothing_done_takes_no_room() -> None:
    new = made(hold_until=7.0)
    assert unpack(new.queue_id, pack(Item(new=new, recipients=beginning(new)))).recipients == beginning(new)
    assert len(pack(Item(new=new, recipients=beginning(new)))) < len(encode_new(new)) * 0.6
