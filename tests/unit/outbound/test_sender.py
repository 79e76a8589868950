"""Messages given to scripted servers through real sockets: what arrives, and what the results say."""

from __future__ import annotations

from typing import Any

import pytest

from mailserver.hooks.dispatch import Hooks
from mailserver.model.delivery import Feedback, Outcome, Success
from mailserver.outbound.sender import Sender
from tests.helpers.receiver import Receiver
from tests.helpers.sending import MESSAGE, Noted, job, make_sender


def sender(**changes: Any) -> Sender:
    return make_sender(Hooks(), **changes)


@pytest.mark.parametrize(
    "features",
    [(), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING"), ("PIPELINING", "CHUNKING", "SIZE 1000000", "DSN")],
)
@pytest.mark.parametrize("size", [0, 300_000])
async def test_a_message_arrives_as_it_is(features: tuple[str, ...], size: int) -> None:
    content = MESSAGE + b"." * 70 + b"\r\n" + b"..line\r\n.x\r\n" * (size // 12)
    noted = Noted()
    to = ["bert@far.test", "cleo@far.test"]
    async with Receiver(features=features) as mx:
        report = await sender().deliver(job(mx.port, content=content, to=to, noted=noted))
    (message,) = mx.messages
    assert message.content == content
    assert [result.outcome for result in report.results] == [Outcome.DELIVERED] * 2
    first = report.results[0]
    assert (first.status, first.code, first.reply) == ("2.0.0", 250, "250 2.0.0 Kept")
    assert (first.remote, first.address) == ("[127.0.0.1]", "127.0.0.1")
    assert first.success is (Success.PASSED_ON if "DSN" in features else Success.RELAYED)
    assert report.feedback is Feedback.FINE
    assert noted.calls == [[0, 1]]
