"""What it costs to find out who gets a message that is forwarded to many."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytest

from mailserver.hooks.contexts import Session
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import Registry
from mailserver.mime.view import MessageView
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Notify, Recipient
from mailserver.model.ids import SessionId, new_queue_id
from mailserver.smtp.keeping import Keeper, Message
from mailserver.smtp.trace import Fields
from mailserver.smtp.transaction import Destination
from mailserver.storage.memory import MemoryStore
from tests.helpers.smtp_service import DOMAIN, MemoryQueue
from tests.helpers.turns import counted_turns

FAILURE, SUCCESS = frozenset({Notify.FAILURE}), frozenset({Notify.SUCCESS})


def _destination(name: str, targets: Sequence[str], notify: frozenset[Notify] = frozenset()) -> Destination:
    recipient = Recipient(address=EmailAddress(name, DOMAIN), notify=notify)
    return Destination(recipient=recipient, remote=[EmailAddress.parse(target) for target in targets])


async def _queued(destinations: list[Destination]) -> MemoryQueue:
    store, queue, directory = MemoryStore(), MemoryQueue(), Any
    envelope = Envelope(sender=None, recipients=tuple(destination.recipient for destination in destinations))
    async with store.begin(0) as content:
        message = Message(
            session=Session(session=SessionId("s"), service="smtp", peer="192.0.2.1"), queue_id=new_queue_id(),
            envelope=envelope, destinations=destinations, content=content, view=MessageView(content),
            client_gone=lambda: False,
            answer=lambda reply: None,
        )  # fmt: skip
        keeper = Keeper(Hooks([Registry()]), store, queue, directory)  # type: ignore[arg-type]
        await keeper.keep(message, [], Fields(b"", b""))
    return queue


async def _work(targets: int) -> int:
    """Calls of functions, and comprehensions' steps, for 50 names of a list with so many members elsewhere."""
    list_of = [f"u{number}@far.test" for number in range(targets)]
    destinations = [_destination(f"list+{number}", list_of) for number in range(50)]
    count = 0

    def note(frame: FrameType, what: str, arg: Any) -> None:
        nonlocal count
        count += what == "call"

    sys.setprofile(note)
    try:
        queue = await _queued(destinations)
    finally:
        sys.setprofile(None)
    (item,) = queue.items
    assert [str(one.address) for one in item.envelope.recipients] == list_of
    return count


async def test_many_names_of_a_large_list_cost_what_they_are() -> None:
    """A stranger may name a list a thousand times, by sub-addresses; the server must not stand still for that."""
    few, many = await _work(20), await _work(80)
    assert many < 6 * few


async def test_others_have_their_turn_meanwhile() -> None:
    list_of = [f"u{number}@far.test" for number in range(500)]
    async with counted_turns() as turns:
        few = await _queued([_destination("list", ["x@far.test"])])
        before, turns.count = turns.count, 0
        many = await _queued([_destination(f"list+{number}", list_of) for number in range(40)])
    assert len(few.items) == len(many.items) == 1
    assert turns.count >= before + 15


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([frozenset(), frozenset(), FAILURE], [frozenset(), FAILURE]),
        ([SUCCESS, SUCCESS, FAILURE, FAILURE], [SUCCESS, SUCCESS, FAILURE]),
    ],
)
async def test_each_name_has_what_it_asked_for(
    asked: list[frozenset[Notify]], expected: list[frozenset[Notify]]
) -> None:
    queue = await _queued([_destination(f"n{number}", ["x@far.test"], notify) for number, notify in enumerate(asked)])
    (item,) = queue.items
    assert [one.notify for one in item.envelope.recipients] == expected
