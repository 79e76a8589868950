"""What a message is about, compared with what people filed as junk and as good mail: naive Bayes.

Each account learns from what it does with its mail, and all accounts together from each other (`learning.py`). What is
kept are counts of numbers that nobody can read back (`tokens.py`, `database.py`); a message gets a score from 0 to 1
(`scoring.py`), and that becomes points and words (`judging.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import structlog

from mailserver import api
from mailserver.plugins.bayes.judging import is_enough, reason_of
from mailserver.plugins.bayes.learning import Learning
from mailserver.plugins.bayes.ledger import Ledger, open_ledger
from mailserver.plugins.bayes.operations import Operations
from mailserver.plugins.bayes.settings import BayesSettings

__all__ = ["plugin"]

_log = structlog.get_logger()


class _Bayes:
    """The hook `on_delivery`."""

    def __init__(self, host: api.Host, settings: BayesSettings, ledger: Ledger) -> None:
        self._directory = host.directory
        self._settings = settings
        self._ledger = ledger

    def delivery(self, ctx: api.DeliveryContext) -> Awaitable[api.Verdict | None] | None:
        """What its content says, to this account."""
        if not ctx.session.from_stranger or not is_enough(self._ledger.learned, self._settings):
            return None
        return self._judge(ctx)

    async def _judge(self, ctx: api.DeliveryContext) -> api.Verdict | None:
        known = self._directory.account(ctx.account)
        created = known.created if known is not None else 0.0
        try:
            opinion = await self._ledger.judge(ctx.queue_id, ctx.message, ctx.account, created, _hop(ctx.session))
        except api.StorageFailure as error:
            _log.warning("bayes.unknown", id=ctx.queue_id, error=error.for_operator)
            return None
        reason = reason_of(opinion, self._settings)
        return api.Accept(findings=api.Findings((), (reason,))) if reason is not None else None


def _hop(session: api.Session) -> bytes:
    """As in the Received field that it will have in the mailbox, where it may be learned from."""
    peer = f"[IPv6:{session.peer}]" if ":" in session.peer else f"[{session.peer}]"
    return f"from {session.helo[:255]} ({peer})".encode("ascii", "replace")


@asynccontextmanager
async def _setup(registry: api.Registry, settings: BayesSettings, host: api.Host) -> AsyncIterator[None]:
    async with open_ledger(host.data_dir / ".server" / "bayes.db", host.clock, settings) as ledger:
        learning = Learning(host, settings, ledger)
        operations = Operations(host, settings, ledger, learning)
        registry.on_delivery(_Bayes(host, settings, ledger).delivery)
        registry.observe(api.Moved, learning.moved)
        registry.observe(api.FlagsChanged, learning.flagged)
        registry.operation("bayes.train", operations.train)
        registry.operation("bayes.show", operations.show)
        registry.operation("bayes.reset", operations.reset)
        yield


plugin = api.Plugin(
    name="bayes",
    on_error="skip",
    setup=_setup,
    settings=BayesSettings,
    doc="Learns from Junk what junk looks like.",
)
