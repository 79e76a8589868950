"""The reports of a day leave when it is over (RFC 8460 §4.1, RFC 9990 §3.5), each once, whatever happens in between.

    its time comes ─▶ the domain's record ─▶ each place that it names ─▶ told there (durable) ─▶ sent

A crash behind a delivery and before "told" repeats that delivery with the same ids: the queue does not take a message
twice that it still has, and receivers know duplicates by the report's id. What fails is tried again for a day (RFC 8460
§5.5). Nothing is ever reported about sending a report: its mail asks for no notifications.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from mailserver import api
from mailserver.plugins.aggregate_reports import database
from mailserver.plugins.aggregate_reports.collecting import Collector
from mailserver.plugins.aggregate_reports.database import Due
from mailserver.plugins.aggregate_reports.document import Document, Heading, make_document, make_message
from mailserver.plugins.aggregate_reports.kind import Found, Kind
from mailserver.plugins.aggregate_reports.targets import Target, Unwanted

__all__ = ["Reporter"]

_log = structlog.get_logger()
_LOOK = 300.0
_AT_ONCE = 4
_DAY = 86400.0
_FIRST_PAUSE, _LONGEST_PAUSE = 300.0, 4 * 3600.0
_WEB_SECONDS, _WEB_ANSWER = 60.0, 64 << 10
_MOST_TROUBLE = 1000
#: Our own counts are kept so long.
_KEEP_DAYS = 14
#: In the list of places that have it.
_COPIES = "copies"


class _NotNow(Exception):
    """In words."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """In whose name reports leave."""

    contact: api.EmailAddress
    organisation: str


class Reporter:
    """`run` looks every five minutes; the first look is that far away, so that a command by itself sends nothing."""

    def __init__(self, kind: Kind, db: api.DatabaseThread, collector: Collector) -> None:
        self._kind = kind
        self._host = kind.host
        self._settings = kind.settings
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
                _log.error(f"{self._kind.name}.stopped", reason=error.for_operator)

    async def once(self) -> int:
        """Send what is due now, and forget what is old; how many reports were due. Raises StorageFailure."""
        async with self._looking:
            await self._collector.flush()
            now = self._host.clock.time()
            first_day = f"{datetime.fromtimestamp(now - _KEEP_DAYS * _DAY, UTC):%Y-%m-%d}"
            await self._db.run(database.prune, first_day, now - self._settings.keep)
            reports = await self._db.run(database.due, now) if self._settings.send else []
            who = self._identity() if reports else None
            if who is None:
                return 0
            waiting: Iterator[Due] = iter(reports)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(reports))):
                    group.create_task(self._work(waiting, who))
            return len(reports)

    def _identity(self) -> _Identity | None:
        """An address of a domain that we serve, since that domain must sign them (RFC 8460 §3, RFC 9990 §3.5.2): read
        anew each time, as domains come and go; None while no domain is served."""
        given = self._settings.contact
        contact = api.EmailAddress.parse(given) if given else None
        if contact is not None and self._host.directory.domain(contact.domain) is None:
            hint = "its domain cannot sign reports"
            _log.warning(f"{self._kind.name}.contact_not_served", contact=given, hint=hint)
            contact = None
        if contact is None:
            domain = api.domain_of_host(self._host.directory, self._host.hostname)
            if not domain:
                return None
            contact = api.EmailAddress(local="postmaster", domain=domain)
        return _Identity(contact, self._settings.organisation or contact.domain)

    async def _work(self, waiting: Iterator[Due], who: _Identity) -> None:
        for due in waiting:
            try:
                await self._send(due, who)
            except (_NotNow, api.MailError) as error:
                await self._failed(due, _words(error))
            except Exception as error:
                # A bug of ours in one report must not stop the others.
                _log.error(f"{self._kind.name}.crashed", domain=due.domain, exc_info=error)
                await self._failed(due, "internal error")

    async def _send(self, due: Due, who: _Identity) -> None:
        """Raises _NotNow, MailError."""
        try:
            # What the domain wants now, which may have changed since.
            targets = await self._kind.targets(due.domain)
        except api.LookupFailed as error:
            raise _NotNow(f"its record cannot be looked up: {error.text}") from None
        if not targets:
            await self._db.run(database.mark, due, state="unwanted")
            return
        heading = Heading(domain=due.domain, day=due.day, contact=who.contact, organisation=who.organisation)
        found = await self._db.run(database.load, due.id)
        # Packing thousands of rows takes a while.
        document = await self._db.aside(self._written, heading, found)
        told, later, never = due.told, [], []
        for target in targets:
            if target.uri in told:
                continue
            try:
                await self._give(due, document, target)
            except Unwanted as error:
                never.append(f"{target.uri}: {error}")
            except (_NotNow, api.MailError) as error:
                later.append(f"{target.uri}: {_words(error)}")
            else:
                told = (*told, target.uri)
                await self._db.run(database.mark, due, told=told)
        trouble = "; ".join(later + never)
        if later and not (told and self._kind.one_is_enough):
            raise _NotNow(trouble)
        if told:
            await self._copy(due, document, told)
        state = "sent" if told else "failed"
        await self._db.run(database.mark, due, state=state, trouble=trouble[:_MOST_TROUBLE])
        _log.info(f"{self._kind.name}.{state}", domain=due.domain, day=due.day, to=list(told), trouble=trouble)

    def _written(self, heading: Heading, found: Found) -> Document:
        return make_document(heading, self._kind.form, *self._kind.write(heading, found))

    async def _give(self, due: Due, document: Document, target: Target) -> None:
        """Raises Unwanted, _NotNow, MailError."""
        for place in await self._kind.places(due.domain, target):
            if place.address is not None:
                await self._mail(due, document, [place.address], str(place.address), most=place.most)
                continue
            media_type = self._kind.form.media_type
            answer = await self._host.web.post(
                place.uri, document.octets, media_type, most=_WEB_ANSWER, within=_WEB_SECONDS
            )
            if answer.status // 100 != 2:
                raise _NotNow(f"the server answers {answer.status}")

    async def _copy(self, due: Due, document: Document, told: Sequence[str]) -> None:
        copies = [api.EmailAddress.parse(text) for text in self._settings.copies]
        if copies and _COPIES not in told:
            await self._mail(due, document, copies, _COPIES)

    async def _mail(
        self, due: Due, document: Document, to: Sequence[api.EmailAddress], place: str, *, most: int = 0
    ) -> None:
        """Raises Unwanted, MailError."""
        queue_id = api.derived_queue_id(api.QueueId(due.queue_id), self._kind.name, place)
        octets = make_message(document, to, at=self._host.clock.time(), hostname=self._host.hostname, seed=queue_id)
        if most and len(octets) > most:
            raise Unwanted(f"the report has {len(octets)} octets, and no more than {most} are wanted")
        sender = None if self._kind.null_return_path else document.heading.contact
        nothing = frozenset({api.Notify.NEVER})
        recipients = tuple(api.Recipient(address=address, notify=nothing) for address in to)
        async with self._host.store.begin(len(octets)) as content:
            await content.write(octets)
            try:
                envelope = api.Envelope(sender=sender, recipients=recipients, own=True)
                await self._host.queue.inject(queue_id, envelope, content)
            except api.AlreadyExists:
                _log.info(f"{self._kind.name}.already_queued", id=queue_id, domain=due.domain)
                return
        told = tuple(str(address) for address in to)
        self._host.emit(api.Queued(queue_id=queue_id, sender=str(sender or ""), recipients=told, size=len(octets)))

    async def _failed(self, due: Due, trouble: str) -> None:
        now = self._host.clock.time()
        first = due.first or now
        due = replace(due, first=first, attempts=due.attempts + 1)
        given_up = now - first >= _DAY
        pause = min(_FIRST_PAUSE * 2 ** min(due.attempts - 1, 10), _LONGEST_PAUSE)
        name = self._kind.name
        try:
            await self._db.run(
                database.mark, due, state="failed" if given_up else "waiting", first=first, attempts=due.attempts,
                next=now + pause, trouble=trouble[:_MOST_TROUBLE],
            )  # fmt: skip
        except api.StorageFailure as error:
            _log.error(f"{name}.not_marked", domain=due.domain, reason=error.for_operator)
            return
        log = _log.warning if given_up else _log.info
        log(f"{name}.given_up" if given_up else f"{name}.not_sent_yet", domain=due.domain, day=due.day, reason=trouble)


def _words(error: Exception) -> str:
    return error.for_operator if isinstance(error, api.MailError) else str(error)
