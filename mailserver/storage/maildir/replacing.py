"""REPLACE: one message comes and another one goes, and whoever looks sees both at once (RFC 8508 §3.4).

    killed after          found
    rename of the new     both, perhaps (nothing was answered)
    directory fsync       both
    removal journaled     the new one; the file of the old one goes at the next start

The folders are held from before the new message has its name until the old one is gone, so nothing in between is shown.
When the removal cannot be journaled, the new one is taken back, as in MOVE (transfer.py), unless it is in another
account, where it was shown already.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mailserver.model.errors import MailError, NotFound, OverQuota, StorageFailure
from mailserver.storage.maildir.commit import Committer
from mailserver.storage.maildir.index import IndexLost, Unsure
from mailserver.storage.maildir.job import Job

if TYPE_CHECKING:
    from mailserver.storage.maildir.mailbox import MaildirMailbox

__all__ = ["check_room", "replace_message"]


def check_room(box: MaildirMailbox, uid: int, octets: int) -> None:
    """Raises NotFound: there is no such message; OverQuota: `octets` do not fit in its place."""
    at = box.table.find(uid)
    if box.deleted or at < 0:
        raise NotFound("the message is gone")
    account = box.account
    limit, more = account.state.octets_limit, octets - box.table.sizes[at]
    if 0 < limit < account.octets + more and more > 0:
        raise OverQuota("the account is over its quota")


async def replace_message(
    box: MaildirMailbox, uid: int, job: Job, committed: asyncio.Future[None], committer: Committer
) -> None:
    """Commit this job of one place, whose end sets `committed`, and expunge the message.

    Raises what keeps the new message from being kept, which the place's `error` has too; then the old one stays.
    """
    place = job.places[0]
    begun = False

    async def operation() -> None:
        nonlocal begun
        if not begun:
            if box.deleted or box.table.find(uid) < 0:
                raise NotFound("the message is gone")
            begun = True
            committer.submit_all([job])
        # Not again from the beginning, when the index is lost in the middle.
        await committed
        if place.error is not None:
            raise place.error
        try:
            await box.expunge_held([uid])
        except (IndexLost, Unsure):
            raise
        except BaseException as error:
            if place.folder in folders:
                await _take_back(box, job, error)
            raise

    folders = {box.folder: None}
    if place.account is box.account:
        folders[place.folder] = None
    try:
        await box.account.upkeep.operate(operation, *folders)
    except BaseException:
        if not begun:
            job.discard()
            place.give_up(job.wire)
        raise


async def _take_back(box: MaildirMailbox, job: Job, error: BaseException) -> None:
    """The new message, which has its name and its UID, and which nobody was shown."""
    place = job.places[0]
    refused = error if isinstance(error, MailError) else StorageFailure("the old message stays", detail=str(error))
    await box.account.context.reading.run(place.take_back, refused)
    place.folder.resolve_all({place.uid: None})
    place.account.unreserve(job.wire)
