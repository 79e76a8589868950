"""Connections for mail that the server wrote itself: they are told apart, and a report gets through (RFC 8460 §3)."""

from __future__ import annotations

import pytest

from mailserver.hooks.calling import HookFailed
from mailserver.hooks.contexts import TlsPolicy, TlsPolicyContext
from mailserver.model.delivery import Outcome
from tests.helpers.receiver import Receiver
from tests.helpers.sending import MESSAGE, Events, job, make_sender


async def test_events_tell_whose_mail_it_is_for_and_where_from() -> None:
    events = Events()
    async with Receiver() as mx, make_sender(events.hooks, reuse_idle=0) as sender:
        for own in (True, False):
            assert (await sender.deliver(job(mx.port, own=own))).results[0].outcome is Outcome.DELIVERED
    assert [(event.own, event.source, event.failure) for event in events.tls()] == [
        (True, "127.0.0.1", "starttls-not-supported"), (False, "127.0.0.1", "starttls-not-supported"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "outcome"),
    [(MESSAGE, Outcome.DEFERRED), (b"TLS-Required: No\r\n" + MESSAGE, Outcome.DELIVERED)],
)
async def test_a_policy_that_cannot_be_found_out(content: bytes, outcome: Outcome) -> None:
    """RFC 8689 §4.2.2: it holds a message back, but none that rather arrives."""

    async def fails(ctx: TlsPolicyContext) -> TlsPolicy | None:
        raise HookFailed("test", "tls_policy", "DNS says nothing")

    async with Receiver() as mx, make_sender(Events(tls_policy=fails).hooks) as sender:
        assert (await sender.deliver(job(mx.port, content=content))).results[0].outcome is outcome
