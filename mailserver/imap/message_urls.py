"""The octets that an IMAP URL names, among the mail that this session may read (RFC 4469 §3, RFC 5092)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager

from mailserver.imap.fetch.sections import Located, locate_all
from mailserver.imap.session import Session
from mailserver.model.errors import InvalidInput, MailError, NotFound
from mailserver.model.rights import Right
from mailserver.ports.store import Mailbox
from mailserver.wire.imap.urls import MessageUrl, parse_message_url

__all__ = ["BadUrl", "octets_of", "opened"]

#: Octets that are read at a time.
_RANGE = 128 << 10


class BadUrl(MailError):
    """The URL names nothing that this session can read."""


async def opened(box: Mailbox, url: MessageUrl, workers: Executor) -> tuple[int, AsyncIterator[bytes]]:
    """How many octets there are, and these. Raises NotFound; while they are read, too, if the message goes."""
    if url.uid_validity not in (None, box.uid_validity):
        raise NotFound("the mailbox of the URL is another one now")
    at = box.table.find(url.uid)
    if at < 0:
        raise NotFound("the message of the URL is gone")
    place: Located = (0, box.table.sizes[at])
    if url.section.part or url.section.text is not None:
        data = await box.read(url.uid)
        loop = asyncio.get_running_loop()
        (place,) = await loop.run_in_executor(workers, locate_all, data, (url.section,))
        del data
    if place is None:
        raise NotFound("the message has no such part")
    first, count = url.partial or (0, None)
    if not isinstance(place, tuple):
        value = place[first:] if count is None else place[first : first + count]
        return len(value), _whole(value)
    start, end = min(place[0] + first, place[1]), place[1]
    if count is not None:
        end = min(start + count, end)
    return end - start, _ranges(box, url.uid, start, end)


async def _whole(value: bytes) -> AsyncIterator[bytes]:
    yield value


async def octets_of(session: Session, text: str) -> AsyncGenerator[bytes, None]:
    """What FETCH BODY.PEEK of it would give, in pieces; no flag changes. Raises BadUrl, StorageFailure."""
    try:
        url = parse_message_url(text)
        async with _mailbox(session, url) as box:
            _, pieces = await opened(box, url, session.services.workers)
            async for piece in pieces:
                yield piece
    except MailError as error:
        if error.temporary:
            raise
        raise BadUrl(error.text) from error


@asynccontextmanager
async def _mailbox(session: Session, url: MessageUrl) -> AsyncIterator[Mailbox]:
    if url.mailbox is None:
        if session.selected is None or session.selected.revoked:
            raise InvalidInput("the URL names no mailbox, and none is selected")
        yield session.selected.mailbox
        return
    access = await session.access(url.mailbox, Right.READ)
    async with access.folders.open(access.name) as box:
        yield box


async def _ranges(box: Mailbox, uid: int, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        piece = await box.read(uid, start, min(_RANGE, end - start))
        if not piece:
            raise NotFound("the message of the URL is gone")
        start += len(piece)
        yield piece
