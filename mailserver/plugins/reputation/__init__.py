"""What an account's own history says of a sender: whom it wrote to, what came from there, what it did with that.

Nothing leaves the server, and one account learns nothing of another's, save whether anybody here has ever had mail from
a domain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from mailserver import api
from mailserver.plugins.reputation import identities
from mailserver.plugins.reputation.judging import judge
from mailserver.plugins.reputation.learning import Learning
from mailserver.plugins.reputation.ledger import Ledger, open_ledger
from mailserver.plugins.reputation.settings import ReputationSettings

__all__ = ["plugin"]

_log = structlog.get_logger()


class _Reputation:
    """The hook `on_delivery`."""

    def __init__(self, host: api.Host, ledger: Ledger, learning: Learning) -> None:
        self._clock = host.clock
        self._ledger = ledger
        self._learning = learning

    async def delivery(self, ctx: api.DeliveryContext) -> api.Verdict | None:
        """What the account knows of those who stand behind the message."""
        if not ctx.session.from_stranger:
            return None
        who = identities.of(ctx)
        self._learning.coming(ctx, who)
        try:
            history = await self._ledger.recall(ctx.account, who)
        except api.StorageFailure as error:
            _log.warning("reputation.unknown", id=ctx.queue_id, error=error.for_operator)
            return None
        reasons = judge(who, history, self._clock.time())
        return api.Accept(findings=api.Findings((), tuple(reasons))) if reasons else None


@asynccontextmanager
async def _setup(registry: api.Registry, settings: ReputationSettings, host: api.Host) -> AsyncIterator[None]:
    async with open_ledger(host.data_dir / ".server" / "reputation.db", host.clock, settings) as ledger:
        learning = Learning(host, ledger)
        registry.on_delivery(_Reputation(host, ledger, learning).delivery)
        registry.observe(api.Delivered, learning.delivered)
        registry.observe(api.Accepted, learning.accepted)
        registry.observe(api.Moved, learning.moved)
        registry.observe(api.FlagsChanged, learning.flagged)
        yield


plugin = api.Plugin(
    name="reputation",
    on_error="skip",
    setup=_setup,
    settings=ReputationSettings,
    doc="Knows from an account's own mail whom it trusts.",
)
