"""Finding places for messages: which folder, which flags, and room reserved, for all of a commit or for none.

A folder in which somebody has a place (`Folder.jobs`) is not renamed or removed, and while somebody waits to do that
(`MaildirAccount.moving`) no places are given. So nobody who has a place may wait for another: both would wait for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mailserver.model.errors import LimitReached, MailError, NotFound, StorageFailure
from mailserver.model.flags import SYSTEM_FLAGS
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.ports.store import Target
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.job import Place
from mailserver.storage.maildir.mailbox import MAX_KEYWORDS

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount

__all__ = ["Load", "find_places", "give_up"]

#: Gives the account as it is now; a closed one, that moved or was removed, has a successor.
Load = Callable[[AccountId], Awaitable["MaildirAccount"]]


async def find_places(load: Load, wanted: Sequence[tuple[Target, int]]) -> list[Place | MailError]:
    """A place for each target, with room for its octets, or why there is none: NotFound, OverQuota, LimitReached."""
    while True:
        # Before there are places: whoever loads an account may wait for those who have places in it.
        accounts = {name: await _loaded(load, name) for name in dict.fromkeys(target.account for target, _ in wanted)}
        places: list[Place | MailError] = []
        late = None
        try:
            for target, octets in wanted:
                account = accounts[target.account]
                if isinstance(account, MailError):
                    places.append(account)
                    continue
                try:
                    place = await _find(account, target, octets)
                except MailError as error:
                    places.append(error)
                    continue
                if place is None:
                    late = account
                    break
                places.append(place)
        finally:
            if len(places) < len(wanted):
                give_up(places, [octets for _, octets in wanted])
        if late is None:
            return places
        if late.moving is not None:
            await late.moving.wait()


def give_up(places: Sequence[Place | MailError], octets: Sequence[int]) -> None:
    """None of these will be committed; so many octets were reserved for each."""
    for place, size in zip(places, octets, strict=False):
        if isinstance(place, Place):
            place.give_up(size)


async def _loaded(load: Load, name: AccountId) -> MaildirAccount | MailError:
    try:
        return await load(name)
    except MailError as error:
        return error


async def _find(account: MaildirAccount, target: Target, octets: int) -> Place | None:
    """A place, or None: not in this account now. Raises NotFound, OverQuota, LimitReached, StorageFailure."""
    while _gives_places(account):
        try:
            folder = account.folders.get(target.mailbox) or await _destination(account, target)
            flags: frozenset[str] = frozenset()
            further: frozenset[str] = frozenset()
            info = None
            if target.flags or not target.into_new:
                try:
                    flags, info, further = await _admit(account, folder, target)
                except OSError as error:
                    if _gives_places(account) and account.folders.get(folder.name) is folder:
                        raise StorageFailure("the keywords cannot be kept now", detail=str(error)) from error
                    # The folder was deleted or renamed meanwhile.
                    continue
        except NotFound:
            if account.closed:
                break
            raise
        if _gives_places(account) and account.folders.get(folder.name) is folder:
            account.reserve(octets, enforce=target.enforce_quota)
            return Place(account, folder, flags, info, further)
    return None


def _gives_places(account: MaildirAccount) -> bool:
    return account.moving is None and not account.closed


async def _destination(account: MaildirAccount, target: Target) -> Folder:
    """The folder of a target. Raises NotFound, unless it is a delivery."""
    try:
        return account.existing(target.mailbox)
    except NotFound:
        if not target.into_new:
            raise
    if target.create:
        try:
            await account.create(target.mailbox)
            return account.existing(target.mailbox)
        except MailError:
            # A name that cannot be made is no reason to lose mail.
            pass
    return account.existing(INBOX)


async def _admit(
    account: MaildirAccount, folder: Folder, target: Target
) -> tuple[frozenset[str], str, frozenset[str]]:
    """The flags a message gets here, what its name says of them, and the keywords that do not fit into the name.

    Raises LimitReached (too many keywords), unless it is a delivery; OSError: the keywords cannot be written there.
    """
    flags = target.flags
    if not flags.issubset(SYSTEM_FLAGS):
        if folder.counts is None:
            await account.refresh(folder)
        have = {flag.lower() for known in folder.counts.sets for flag in known} if folder.counts else set()
        new = {flag.lower() for flag in flags}.difference(have)
        if new and len(have | new) > MAX_KEYWORDS:
            if not target.into_new:
                raise LimitReached(f"a mailbox has at most {MAX_KEYWORDS} keywords")
            flags = flags.intersection(SYSTEM_FLAGS)
    if flags.issubset(SYSTEM_FLAGS):
        return flags, folder.keywords.info(flags), frozenset()
    info = await account.context.reading.run(folder.keywords.info, flags)
    return flags, info, folder.keywords.without_letter(flags)
