"""Messages on their way in: places for them, jobs for the committer, and what became of each. On the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from mailserver.model.errors import MailError
from mailserver.model.mailbox import Stored
from mailserver.ports.store import Content, Target
from mailserver.storage.maildir.content import ContentSpace, MaildirContent
from mailserver.storage.maildir.context import Context
from mailserver.storage.maildir.job import Job, Place
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.placing import Load, find_places, give_up
from mailserver.storage.maildir.replacing import check_room, replace_message

__all__ = ["Intake"]

_READ_CHUNK = 1 << 20


class Intake:
    """For one store."""

    def __init__(self, context: Context, space: ContentSpace, load: Load) -> None:
        self._context = context
        self._space = space
        self._load = load

    async def commit(
        self, content: Content, targets: Sequence[Target], header: bytes = b""
    ) -> list[Stored | MailError]:
        """Put one message at every target; the result for each."""
        self._context.committer.check()
        own = await self._own(content)
        octets = own.size + own.bare + len(header)
        places = await find_places(self._load, [(target, octets) for target in targets])
        groups: dict[int | None, list[Place]] = {}
        for target, place in zip(targets, places, strict=True):
            if isinstance(place, Place):
                groups.setdefault(target.date, []).append(place)
        if groups:
            try:
                committed = self._commit_groups(own, header, groups)
            except BaseException:
                give_up(places, [octets] * len(places))
                raise
            await committed
        return [_outcome(place) if isinstance(place, Place) else place for place in places]

    def _commit_groups(
        self, content: MaildirContent, header: bytes, groups: dict[int | None, list[Place]]
    ) -> asyncio.Future[None]:
        """One job for each date; the future is done when all are. Raises StorageFailure: then none was begun."""
        waiter: asyncio.Future[None] = self._context.loop.create_future()
        left = len(groups)

        def done(job: Job) -> None:
            nonlocal left
            left -= 1
            _unreserve(job)
            if not left and not waiter.done():
                waiter.set_result(None)

        jobs: list[Job] = []
        try:
            for date, placed in groups.items():
                jobs.append(Job(content, header, placed, date, done))
        except OSError as error:
            for job in jobs:
                job.discard()
            raise self._context.faults.failure(error) from error
        for job in jobs:
            self._context.committer.submit(job)
        return waiter

    async def commit_all(self, items: Sequence[tuple[Content, Target]]) -> list[Stored]:
        """Put several messages into one mailbox, all or none."""
        self._context.committer.check()
        jobs: list[Job] = []
        waiter: asyncio.Future[None] = self._context.loop.create_future()

        def done(job: Job) -> None:
            _unreserve(job)
            if job is jobs[-1] and not waiter.done():
                waiter.set_result(None)

        contents = [await self._own(content) for content, _ in items]
        sizes = [content.size + content.bare for content in contents]
        wanted = [(target, octets) for (_, target), octets in zip(items, sizes, strict=True)]
        places = await find_places(self._load, wanted)
        try:
            for content, (_, target), place in zip(contents, items, places, strict=True):
                if isinstance(place, MailError):
                    raise place
                jobs.append(Job(content, b"", [place], target.date, done))
        except BaseException as error:
            for job in jobs:
                job.discard()
            give_up(places, sizes)
            if isinstance(error, OSError):
                raise self._context.faults.failure(error) from error
            raise
        if not jobs:
            return []
        if len(jobs) == 1:
            # One hop to a thread, together with those of other sessions.
            self._context.committer.submit(jobs[0])
        else:
            self._context.committer.submit_all(jobs)
        await waiter
        outcomes = [_outcome(job.places[0]) for job in jobs]
        stored = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
        if len(stored) < len(outcomes):
            raise next(outcome for outcome in outcomes if isinstance(outcome, MailError))
        # Whoever is told the UID finds the message.
        await jobs[-1].places[0].folder.visible(stored[-1].uid)
        return stored

    async def replace(self, mailbox: MaildirMailbox, uid: int, content: Content, target: Target) -> Stored:
        """Put a message in the place of another one."""
        self._context.committer.check()
        own = await self._own(content)
        if mailbox.account.account == target.account:
            check_room(mailbox, uid, own.size + own.bare)
            target = replace(target, enforce_quota=False)
        (place,) = await find_places(self._load, [(target, own.size + own.bare)])
        if isinstance(place, MailError):
            raise place
        committed: asyncio.Future[None] = self._context.loop.create_future()

        def done(job: Job) -> None:
            _unreserve(job)
            committed.set_result(None)

        try:
            job = Job(own, b"", [place], target.date, done)
        except OSError as error:
            place.give_up(own.size + own.bare)
            raise self._context.faults.failure(error) from error
        await self._context.finish(replace_message(mailbox, uid, job, committed, self._context.committer))
        outcome = _outcome(place)
        assert isinstance(outcome, Stored)  # noqa: S101
        return outcome

    async def _own(self, content: Content) -> MaildirContent:
        """The content as this store keeps it; one that another store began is copied."""
        if isinstance(content, MaildirContent):
            return content
        copy, position = MaildirContent(self._space), 0
        while position < content.size and (chunk := await content.read(position, _READ_CHUNK)):
            await copy.write(chunk)
            position += len(chunk)
        return copy


def _unreserve(job: Job) -> None:
    """Give back the room of what was not kept."""
    for place in job.places:
        if place.arrival is None:
            place.account.unreserve(job.wire)


def _outcome(place: Place) -> Stored | MailError:
    if place.error is not None:
        return place.error
    folder = place.folder
    return Stored(
        account=place.account.account, mailbox=folder.name, uid_validity=folder.state.uid_validity, uid=place.uid
    )
