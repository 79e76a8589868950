"""Reports about us, as they come by mail: a summary is kept, and the message is delivered like any other.

What looks like a report is remembered when it comes, and read only when it was accepted, one at a time and not here
(`Kind.read`): neither a bad report nor a hundred large ones can hold up or refuse mail.
"""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from mailserver import api
from mailserver.plugins.aggregate_reports import database
from mailserver.plugins.aggregate_reports.kind import Kind

__all__ = ["Receiver"]

_log = structlog.get_logger()
_MAX_MESSAGE = 16 << 20
_MOST_WAITING, _MOST_OCTETS = 50, 64 << 20


class Receiver:
    """The hook and the observer."""

    def __init__(self, kind: Kind, db: api.DatabaseThread) -> None:
        self._kind = kind
        self._db = db
        self._places = {api.EmailAddress.parse(text).key for text in kind.settings.receive_at}
        #: Messages, and whether they came to an address for reports.
        self._waiting: dict[api.QueueId, tuple[bytes, bool]] = {}

    def message(self, ctx: api.MessageContext) -> Awaitable[None] | None:
        """Remember what looks like a report: nothing is decided here."""
        if ctx.session.account is not None or ctx.envelope.own:
            return None
        listed = any(one.address.key in self._places for one in ctx.envelope.recipients) if self._places else False
        if not self._kind.recognise(ctx, listed=listed):
            return None
        if ctx.content.size > _MAX_MESSAGE:
            reason = f"it has more than {_MAX_MESSAGE} octets"
            _log.info(f"{self._kind.name}.ignored", id=ctx.queue_id, reason=reason)
            return None
        return self._remember(ctx, listed)

    async def _remember(self, ctx: api.MessageContext, listed: bool) -> None:
        try:
            octets = await ctx.content.read(0, ctx.content.size)
        except api.MailError as error:
            _log.warning(f"{self._kind.name}.lost", id=ctx.queue_id, reason=error.for_operator)
            return
        # Those that were refused in the end are the oldest here.
        while self._waiting and (
            len(self._waiting) >= _MOST_WAITING
            or len(octets) + sum(len(one) for one, _ in self._waiting.values()) > _MOST_OCTETS
        ):
            del self._waiting[next(iter(self._waiting))]
        self._waiting[ctx.queue_id] = octets, listed

    def accepted(self, event: api.Accepted) -> Awaitable[None] | None:
        """Read it now."""
        proved = self._kind.proved(event.queue_id)
        found = self._waiting.pop(event.queue_id, None)
        return None if found is None else self._read(event, *found, proved)

    async def _read(self, event: api.Accepted, octets: bytes, listed: bool, proved: bool) -> None:
        kind = self._kind
        try:
            report = await kind.read(octets, self._db, proved=proved)
            wanted = {
                number: part for number, part in enumerate(report.parts) if listed or kind.is_ours(part.domain)
            }
            if not wanted:
                raise api.BadFile("it is about no domain that is served here")
            now = kind.host.clock.time()
            new = await self._db.run(database.add_received, kind.limits, report, wanted, now)
            if new is None:
                raise api.BadFile("too many reports came within a day")
        except (api.BadFile, api.ConfinedFailed, api.MailError) as error:
            _log.info(f"{kind.name}.ignored", id=event.queue_id, peer=event.peer, reason=str(error))
            return
        if new:
            domains, failed = sorted({part.domain for part in wanted.values()}), sum(one.failed for one in report.parts)
            _log.info(
                f"{kind.name}.received", id=event.queue_id, reporter=report.organisation, domains=domains, failed=failed
            )
