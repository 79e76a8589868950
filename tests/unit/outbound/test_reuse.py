"""Connections that wait for the next message: when they serve again, when they are let go, and what goes wrong then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailserver.hooks.dispatch import Hooks
from mailserver.model.delivery import Outcome, Result
from mailserver.outbound import attempt
from mailserver.outbound.sender import Sender
from tests.helpers.receiver import CLOSE, RESET, SILENCE, Receiver
from tests.helpers.sending import job, make_sender

BOTH = ("PIPELINING", "CHUNKING")


def sender(**changes: Any) -> Sender:
    return make_sender(Hooks(), **changes)


async def send(made: Sender, mx: Receiver, **arguments: Any) -> Result:
    (result,) = (await made.deliver(job(mx.port, **arguments))).results
    return result


@pytest.mark.parametrize("features", [(), ("PIPELINING",), ("CHUNKING",), BOTH])
async def test_the_next_message_takes_the_same_connection(features: tuple[str, ...]) -> None:
    async with Receiver(features=features) as mx:
        async with sender() as made:
            for _ in range(3):
                assert (await send(made, mx)).outcome is Outcome.DELIVERED
        await mx.settled()
    assert (mx.connections, len(mx.messages)) == (1, 3)
    assert mx.verbs().count("EHLO") == 1
    assert mx.verbs()[-1] == "QUIT", "leaving the sender says goodbye"


@pytest.mark.parametrize("reuse_idle", [0.0, 5.0])
async def test_no_connection_outlives_the_sender(reuse_idle: float) -> None:
    """Neither one that was told goodbye, nor one that is told so at the end: the server never answers."""
    async with Receiver(answers={"QUIT": SILENCE}) as mx:
        async with sender(reuse_idle=reuse_idle, quit_timeout=0.2 if reuse_idle else 1000.0) as made:
            await send(made, mx)
            assert mx.open == 1
        await mx.settled()
    assert mx.verbs()[-1] == "QUIT"


async def test_connections_at_one_time_are_as_many_as_messages() -> None:
    async with Receiver() as mx, sender() as made:
        await asyncio.gather(*(send(made, mx) for _ in range(5)))
        await asyncio.gather(*(send(made, mx) for _ in range(5)))
    assert (mx.connections, len(mx.messages)) == (5, 10)


@pytest.mark.parametrize(
    ("changes", "connections"),
    [
        ({"reuse_idle": 0.0}, 4), ({"reuse_messages": 2}, 2), ({"reuse_age": 0.0}, 4), ({"idle_connections": 0}, 4),
        ({}, 1),
    ],
)  # fmt: skip
async def test_bounds_of_reuse(changes: dict[str, Any], connections: int) -> None:
    async with Receiver() as mx, sender(**changes) as made:
        for _ in range(4):
            await send(made, mx)
        assert mx.connections == connections
    assert len(mx.messages) == 4


async def test_a_connection_that_waited_long_enough_is_let_go() -> None:
    async with Receiver() as mx, sender(reuse_idle=0.05) as made:
        await send(made, mx)
        await mx.settled()
        assert mx.verbs()[-1] == "QUIT"
        assert len(made.pool) == 0
        await send(made, mx)
    assert mx.connections == 2


async def test_the_one_that_waited_longest_makes_room() -> None:
    async with Receiver() as one, Receiver() as two, Receiver() as three, sender(idle_connections=2) as made:
        for mx in (one, two, three):
            await send(made, mx)
        await one.settled()
        assert len(made.pool) == 2
        for mx in (two, three):
            await send(made, mx)
            assert mx.connections == 1


async def test_a_server_that_closed_meanwhile_costs_no_attempt() -> None:
    """It says 421 and closes, or closes, or vanishes; the message goes on a new connection."""
    for act in (b"421 4.4.2 Idle for too long\r\n", CLOSE, RESET):
        async with Receiver(answers={"MAIL": [b"250 2.1.0 Ok\r\n", act, b"250 2.1.0 Ok\r\n"]}) as mx, sender() as made:
            await send(made, mx)
            result = await send(made, mx)
        assert result.outcome is Outcome.DELIVERED, act
        assert (mx.connections, len(mx.messages)) == (2, 2)


async def test_a_goodbye_that_came_while_it_waited_is_seen() -> None:
    async with Receiver() as mx, sender() as made:
        await send(made, mx)
        (session,) = mx._live
        session.transport.write(b"421 4.4.2 Idle for too long\r\n")
        ((waiting,),) = made.pool._idle.values()
        while waiting.wire.quiet:  # noqa: ASYNC110 - what the other side says is not announced
            await asyncio.sleep(0.001)
        assert (await send(made, mx)).outcome is Outcome.DELIVERED
    assert mx.connections == 2


async def test_a_message_that_may_have_arrived_is_not_sent_again_at_once() -> None:
    """All of it was in one write, and nothing came back: nobody knows (RFC 1047)."""
    async with Receiver(features=BOTH, answers={"MAIL": [b"250 Ok\r\n", RESET]}) as mx, sender() as made:
        await send(made, mx)
        result = await send(made, mx)
    assert result.outcome is Outcome.DEFERRED
    assert "may have arrived" in result.reply
    assert mx.connections == 1


async def test_a_connection_that_waited_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The envelope goes alone, so that a server that closed meanwhile costs neither an attempt nor a doubt."""
    monkeypatch.setattr(attempt, "_SURELY_OPEN", 0.0)
    async with Receiver(features=BOTH, answers={"MAIL": [b"250 Ok\r\n", RESET, b"250 Ok\r\n"]}) as mx, sender() as made:
        await send(made, mx)
        assert (await send(made, mx)).outcome is Outcome.DELIVERED
    assert mx.connections == 2


async def test_after_a_refusal_rset_comes_first() -> None:
    for features in ((), ("PIPELINING",), BOTH):
        answers: dict[str, Any] = {"END": [b"554 5.6.0 No\r\n", b"250 Ok\r\n"]}
        async with Receiver(features=features, answers=answers) as mx, sender() as made:
            assert (await send(made, mx)).outcome is Outcome.FAILED
            assert (await send(made, mx)).outcome is Outcome.DELIVERED
        assert mx.connections == 1
        assert mx.verbs().count("RSET") == 1


async def test_a_cancelled_attempt_leaves_no_connection() -> None:
    arrived = asyncio.Event()

    def silent(line: bytes) -> Any:
        arrived.set()
        return b""

    async with Receiver(answers={"RCPT": silent}) as mx, sender() as made:
        task = asyncio.ensure_future(made.deliver(job(mx.port)))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await mx.settled()
        assert len(made.pool) == 0


@pytest.mark.parametrize("features", [(), ("PIPELINING",), ("CHUNKING",), BOTH])
async def test_a_connection_that_cannot_be_set_back_is_left(features: tuple[str, ...]) -> None:
    """Where RSET is refused MAIL may be, too (503, nested): that says nothing about the next message."""
    begun: set[int] = set()

    def mail(line: bytes) -> bytes:
        nested = mx.connections in begun
        begun.add(mx.connections)
        return b"503 5.5.1 Nested MAIL command\r\n" if nested else b"250 2.1.0 Ok\r\n"

    answers: dict[str, Any] = {"END": [b"554 5.6.0 No\r\n", None], "MAIL": mail, "RSET": b"502 5.5.1 What?\r\n"}
    mx = Receiver(features=features, answers=answers)
    async with mx, sender() as made:
        assert (await send(made, mx)).outcome is Outcome.FAILED
        assert (await send(made, mx)).outcome is Outcome.DELIVERED
    assert (mx.connections, len(mx.messages)) == (2, 1)
