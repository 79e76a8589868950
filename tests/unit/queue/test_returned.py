"""What an account forwards without keeping it, and cannot be delivered: it comes back to it, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.model.envelope import returning
from mailserver.model.ids import new_queue_id
from tests.helpers.content import BytesContent
from tests.helpers.queue import DEFERRED, FAILED, MESSAGE, QueueHarness, envelope_for

BEN, HOUR = "ben@example.test", 3600.0


@pytest.mark.parametrize("sender", ["carl@far.test", None])
async def test_targets_that_fail_one_after_another(tmp_path: Path, sender: str | None) -> None:
    async with QueueHarness(tmp_path, max_age="1d").running() as queue:
        queue.deliverer.answers |= {"bad@x.test": [FAILED], "slow@y.test": [DEFERRED]}
        envelope = envelope_for("bad@x.test", "slow@y.test", sender=sender)
        back = returning([(BEN, [one.address for one in envelope.recipients])])
        await queue.queue.inject(new_queue_id(), replace(envelope, extra=back), BytesContent(MESSAGE))
        for _ in range(30):
            await queue.advance(HOUR)
        assert len(queue.queue) == 0
        assert len(queue.deliverer.to(BEN)) == 1
        failures = [event for event in queue.reported if event.action == "failed"]
        assert len(failures) == (2 if sender else 0)


async def test_of_several_accounts_only_that_whose_target_failed_gets_it(tmp_path: Path) -> None:
    """They share what goes to the same address; each has its own targets."""
    async with QueueHarness(tmp_path, max_age="1d").running() as queue:
        queue.deliverer.answers |= {"bad@x.test": [FAILED], "slow@y.test": [DEFERRED]}
        envelope = envelope_for("good@x.test", "bad@x.test", "slow@y.test", sender=None)
        good, bad, slow = (one.address for one in envelope.recipients)
        back = returning([(BEN, [good]), ("anna@example.test", [good, bad]), ("cleo@example.test", [slow, bad])])
        await queue.queue.inject(new_queue_id(), replace(envelope, extra=back), BytesContent(MESSAGE))
        await queue.advance(HOUR)
        assert [len(queue.deliverer.to(f"{one}@example.test")) for one in ("anna", "ben", "cleo")] == [1, 0, 1]
        for _ in range(30):
            await queue.advance(HOUR)
        assert [len(queue.deliverer.to(f"{one}@example.test")) for one in ("anna", "ben", "cleo")] == [1, 0, 1]


async def test_a_target_that_fails_after_that_of_another_account(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path, max_age="1d").running() as queue:
        queue.deliverer.answers |= {"bad@x.test": [FAILED], "slow@y.test": [DEFERRED]}
        envelope = envelope_for("bad@x.test", "slow@y.test", sender=None)
        bad, slow = (one.address for one in envelope.recipients)
        back = returning([(BEN, [slow]), ("anna@example.test", [bad])])
        await queue.queue.inject(new_queue_id(), replace(envelope, extra=back), BytesContent(MESSAGE))
        for _ in range(30):
            await queue.advance(HOUR)
        assert [len(queue.deliverer.to(f"{one}@example.test")) for one in ("anna", "ben")] == [1, 1]
