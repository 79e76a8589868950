"""The reports of a day leave when the day is over (RFC 8460 §4.1), each once, whatever happens in between.

    its time comes ─▶ the domain's record ─▶ each place that it names ─▶ told there (durable) ─▶ sent

A crash behind a delivery and before "told" repeats that delivery with the same ids: the queue does not take a message
twice that it still has, and receivers know duplicates by the report's id (RFC 8460 §5.3). What fails is tried again for
a day (§5.5). Nothing is ever reported about sending a report: its mail asks for no notifications.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from mailserver import api
from mailserver.plugins.tlsrpt import database
from mailserver.plugins.tlsrpt.collecting import Collector
from mailserver.plugins.tlsrpt.database import Due
from mailserver.plugins.tlsrpt.identity import Identity, identity
from mailserver.plugins.tlsrpt.record import Target, read_records
from mailserver.plugins.tlsrpt.report import MEDIA_TYPE, Report, make_report, message
from mailserver.plugins.tlsrpt.settings import TlsReportSettings

__all__ = ["Reporter"]

_log = structlog.get_logger()
_LOOK = 300.0
_AT_ONCE = 4
_DAY = 86400.0
_FIRST_PAUSE, _LONGEST_PAUSE = 300.0, 4 * 3600.0
_WEB_SECONDS, _WEB_ANSWER = 60.0, 64 << 10
#: Our own counts are kept so long.
_KEEP_DAYS = 14
#: In the list of places that have it.
_COPIES = "copies"


class _NotNow(Exception):
    """In words."""


class Reporter:
    """`run` looks every five minutes; the first look is that far away, so that a command by itself sends nothing."""

    def __init__(
        self, host: api.Host, settings: TlsReportSettings, db: api.DatabaseThread, collector: Collector
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
                _log.error("tlsrpt.stopped", reason=error.for_operator)

    async def once(self) -> int:
        """Send what is due now, and forget what is old; how many reports were due. Raises StorageFailure."""
        async with self._looking:
            await self._collector.flush()
            now = self._host.clock.time()
            first_day = f"{datetime.fromtimestamp(now - _KEEP_DAYS * _DAY, UTC):%Y-%m-%d}"
            await self._db.run(database.prune, first_day, now - self._settings.keep)
            reports = await self._db.run(database.due, now) if self._settings.send else []
            who = identity(self._host, self._settings) if reports else None
            if who is None:
                return 0
            waiting: Iterator[Due] = iter(reports)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(reports))):
                    group.create_task(self._work(waiting, who))
            return len(reports)

    async def _work(self, waiting: Iterator[Due], who: Identity) -> None:
        for due in waiting:
            try:
                await self._send(due, who)
            except (_NotNow, api.MailError) as error:
                await self._failed(due, error.for_operator if isinstance(error, api.MailError) else str(error))
            except Exception as error:
                # A bug of ours in one report must not stop the others.
                _log.error("tlsrpt.crashed", domain=due.domain, exc_info=error)
                await self._failed(due, "internal error")

    async def _send(self, due: Due, who: Identity) -> None:
        """Raises _NotNow, StorageFailure."""
        try:
            answer = await self._host.resolver.txt(f"_smtp._tls.{due.domain}")
        except api.LookupFailed as error:
            raise _NotNow(f"its record cannot be looked up: {error.text}") from None
        targets = read_records(answer.records)
        if not targets:
            await self._db.run(database.mark, due, state="unwanted")
            return
        policies = await self._db.run(database.load, due.id)
        report = make_report(
            due.day, due.domain, policies, contact=who.contact, organisation=who.organisation
        )
        told, troubles = due.told, []
        for target in targets:
            if target.uri in told:
                continue
            try:
                await self._give(due, report, target)
            except (_NotNow, api.MailError) as error:
                troubles.append(f"{target.uri}: {error}")
                continue
            told = (*told, target.uri)
            await self._db.run(database.mark, due, told=told)
        # RFC 8460 §3: one of them is enough.
        if not told:
            raise _NotNow("; ".join(troubles))
        await self._copy(due, report, told)
        await self._db.run(database.mark, due, state="sent", trouble="; ".join(troubles))
        _log.info("tlsrpt.sent", domain=due.domain, day=due.day, to=list(told))

    async def _give(self, due: Due, report: Report, target: Target) -> None:
        if target.address is not None:
            await self._mail(due, report, [target.address], target.uri)
            return
        answer = await self._host.web.post(
            target.uri, report.octets, MEDIA_TYPE, most=_WEB_ANSWER, within=_WEB_SECONDS
        )
        if answer.status // 100 != 2:
            raise _NotNow(f"the server answers {answer.status}")

    async def _copy(self, due: Due, report: Report, told: Sequence[str]) -> None:
        copies = [api.EmailAddress.parse(text) for text in self._settings.copies]
        if copies and _COPIES not in told:
            await self._mail(due, report, copies, _COPIES)

    async def _mail(self, due: Due, report: Report, to: Sequence[api.EmailAddress], place: str) -> None:
        queue_id = api.derived_queue_id(api.QueueId(due.queue_id), "tlsrpt", place)
        octets = message(report, to, at=self._host.clock.time(), hostname=self._host.hostname, seed=queue_id)
        envelope = api.Envelope(
            sender=report.contact,
            recipients=tuple(
                api.Recipient(address=address, notify=frozenset({api.Notify.NEVER})) for address in to
            ),
            own=True,
        )  # fmt: skip
        async with self._host.store.begin(len(octets)) as content:
            await content.write(octets)
            try:
                await self._host.queue.inject(queue_id, envelope, content)
            except api.AlreadyExists:
                _log.info("tlsrpt.already_queued", id=queue_id, domain=due.domain)
                return
        recipients = tuple(str(address) for address in to)
        self._host.emit(
            api.Queued(queue_id=queue_id, sender=str(report.contact), recipients=recipients, size=len(octets))
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
            _log.error("tlsrpt.not_marked", domain=due.domain, reason=error.for_operator)
            return
        log = _log.warning if given_up else _log.info
        log("tlsrpt.given_up" if given_up else "tlsrpt.not_sent_yet", domain=due.domain, day=due.day, reason=trouble)
