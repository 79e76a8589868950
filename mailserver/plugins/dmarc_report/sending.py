"""The reports of a day leave when the day is over (RFC 9990 §3.5), each once, whatever happens in between.

    its time comes ─▶ the domain's record ─▶ each place that it names, if that agrees ─▶ told there (durable) ─▶ sent

A crash behind a delivery and before "told" repeats that delivery with the same ids: the queue does not take a message
twice that it still has, and receivers know duplicates by the report's id (§3.5.4). What cannot be looked up is tried
again for a day. Reports have the null return path: nothing ever comes back about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from mailserver import api
from mailserver.plugins.dmarc_report import database
from mailserver.plugins.dmarc_report.collecting import Collector
from mailserver.plugins.dmarc_report.database import Due
from mailserver.plugins.dmarc_report.feedback import Feedback, make_feedback, message
from mailserver.plugins.dmarc_report.record import Target, Unconfirmed, confirmed, read_targets
from mailserver.plugins.dmarc_report.settings import DmarcReportSettings

__all__ = ["Reporter"]

_log = structlog.get_logger()
_LOOK = 300.0
_AT_ONCE = 4
_DAY = 86400.0
_FIRST_PAUSE, _LONGEST_PAUSE = 300.0, 4 * 3600.0
#: Our own counts are kept so long.
_KEEP_DAYS = 14


class _NotNow(Exception):
    """In words."""


@dataclass(slots=True)
class _Troubles:
    """Why places have no report: `later` may change, `never` does not."""

    later: list[str]
    never: list[str]

    def __str__(self) -> str:
        return "; ".join(self.later + self.never)


class Reporter:
    """`run` looks every five minutes; the first look is that far away, so that a command by itself sends nothing."""

    def __init__(
        self, host: api.Host, settings: DmarcReportSettings, db: api.DatabaseThread, collector: Collector
    ) -> None:
        self._host = host
        self._settings = settings
        self._db = db
        self._collector = collector
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self.once()
            except api.MailError as error:
                _log.error("dmarc_report.stopped", reason=error.for_operator)

    async def once(self) -> int:
        """Send what is due now, and forget what is old; how many reports were due. Raises StorageFailure."""
        async with self._looking:
            await self._collector.flush()
            now = self._host.clock.time()
            first_day = f"{datetime.fromtimestamp(now - _KEEP_DAYS * _DAY, UTC):%Y-%m-%d}"
            await self._db.run(database.prune, first_day, now - self._settings.keep)
            reports = await self._db.run(database.due, now) if self._settings.send else []
            contact = self.contact() if reports else None
            if contact is None:
                return 0
            waiting: Iterator[Due] = iter(reports)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(reports))):
                    group.create_task(self._work(waiting, contact))
            return len(reports)

    def contact(self) -> api.EmailAddress | None:
        """In whose name reports leave: a served domain's, which signs them so that DMARC passes (§3.5.2)."""
        contact = api.EmailAddress.parse(self._settings.contact) if self._settings.contact else None
        if contact is not None and self._host.directory.domain(contact.domain) is not None:
            return contact
        if contact is not None:
            hint = "its domain cannot sign reports"
            _log.warning("dmarc_report.contact_not_served", contact=self._settings.contact, hint=hint)
        domain = api.domain_of_host(self._host.directory, self._host.hostname)
        return api.EmailAddress(local="postmaster", domain=domain) if domain else None

    async def _work(self, waiting: Iterator[Due], contact: api.EmailAddress) -> None:
        for due in waiting:
            try:
                await self._send(due, contact)
            except (_NotNow, api.MailError) as error:
                await self._failed(due, error.for_operator if isinstance(error, api.MailError) else str(error))
            except Exception as error:
                # A bug of ours in one report must not stop the others.
                _log.error("dmarc_report.crashed", domain=due.domain, exc_info=error)
                await self._failed(due, "internal error")

    async def _send(self, due: Due, contact: api.EmailAddress) -> None:
        """Raises _NotNow, StorageFailure."""
        targets = await self._targets(due)
        if not targets:
            await self._db.run(database.mark, due, state="unwanted")
            return
        found = await self._db.run(database.load, due.id)
        # Packing 5,000 rows takes a while.
        feedback = await self._db.aside(
            make_feedback, due.day, due.domain, found, contact=contact,
            organisation=self._settings.organisation or contact.domain,
        )  # fmt: skip
        told, troubles = due.told, _Troubles([], [])
        for target in targets:
            told = await self._give(due, feedback, target, told, troubles)
        if troubles.later:
            raise _NotNow(str(troubles))
        state = "sent" if told else "failed"
        await self._db.run(database.mark, due, state=state, trouble=str(troubles)[:1000])
        _log.info("dmarc_report.sent", domain=due.domain, day=due.day, to=list(told), trouble=str(troubles))

    async def _targets(self, due: Due) -> tuple[Target, ...]:
        """What the domain wants now, which may have changed since the mail came. Raises _NotNow."""
        try:
            answer = await self._host.resolver.txt(f"_dmarc.{due.domain}")
        except api.LookupFailed as error:
            raise _NotNow(f"its record cannot be looked up: {error.text}") from None
        record = api.find_dmarc(answer.records)
        return read_targets(record.rua) if record is not None else ()

    async def _give(
        self, due: Due, feedback: Feedback, target: Target, told: tuple[str, ...], troubles: _Troubles
    ) -> tuple[str, ...]:
        """Who has it then. Raises StorageFailure."""
        if target.uri in told:
            return told
        try:
            for place in await confirmed(self._host.resolver, due.domain, target):
                await self._mail(due, feedback, place)
        except Unconfirmed as error:
            troubles.never.append(f"{target.uri}: {error}")
            return told
        except api.LookupFailed as error:
            troubles.later.append(f"{target.uri}: {error.text}")
            return told
        told = (*told, target.uri)
        await self._db.run(database.mark, due, told=told)
        return told

    async def _mail(self, due: Due, feedback: Feedback, target: Target) -> None:
        """Raises Unconfirmed, MailError."""
        queue_id = api.derived_queue_id(api.QueueId(due.queue_id), "dmarc_report", str(target.address))
        octets = message(
            feedback, target.address, at=self._host.clock.time(), hostname=self._host.hostname, seed=queue_id
        )
        if target.most and len(octets) > target.most:
            raise Unconfirmed(f"the report has {len(octets)} octets, and no more than {target.most} are wanted")
        envelope = api.Envelope(
            sender=None, own=True,
            recipients=(api.Recipient(address=target.address, notify=frozenset({api.Notify.NEVER})),),
        )  # fmt: skip
        async with self._host.store.begin(len(octets)) as content:
            await content.write(octets)
            try:
                await self._host.queue.inject(queue_id, envelope, content)
            except api.AlreadyExists:
                _log.info("dmarc_report.already_queued", id=queue_id, domain=due.domain)
                return
        self._host.emit(
            api.Queued(queue_id=queue_id, sender="", recipients=(str(target.address),), size=len(octets))
        )

    async def _failed(self, due: Due, trouble: str) -> None:
        now = self._host.clock.time()
        first = due.first or now
        due = replace(due, first=first, attempts=due.attempts + 1)
        given_up = now - first >= _DAY
        pause = min(_FIRST_PAUSE * 2 ** min(due.attempts - 1, 10), _LONGEST_PAUSE)
        try:
            await self._db.run(
                database.mark, due, state="failed" if given_up else "waiting", first=first, attempts=due.attempts,
                next=now + pause, trouble=trouble[:1000],
            )  # fmt: skip
        except api.StorageFailure as error:
            _log.error("dmarc_report.not_marked", domain=due.domain, reason=error.for_operator)
            return
        log = _log.warning if given_up else _log.info
        log("dmarc_report.given_up" if given_up else "dmarc_report.not_sent_yet", domain=due.domain, reason=trouble)
