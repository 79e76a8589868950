"""Finding places for messages: which folder, which flags, and room reserved, for all of a commit or for none.

A folder in which somebody has a place (`Folder.jobs`) is not renamed or removed, and while somebody waits to do that
(`MaildirAccount.moving`) no places are given. So nobody who has a place may wait for another: both would wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mailserver.model.errors import MailError
from mailserver.model.ids import AccountId
from mailserver.ports.store import Target
from mailserver.storage.maildir.job import Place

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount

__all__ = ["find_places", "give_up"]

#: Gives the account as it is now: after it moved it may be another object, or none.
_Load = Callable[[AccountId], Awaitable["MaildirAccount"]]


async def find_places(load: _Load, wanted: Sequence[tuple[Target, int]]) -> list[Place | MailError]:
    """A place for each target, with room for its octets, or why there is none: NotFound, OverQuota, LimitReached."""
    while True:
        places: list[Place | MailError] = []
        moving = None
        try:
            for target, octets in wanted:
                try:
                    place = await _find(load, target, octets)
                except MailError as error:
                    places.append(error)
                    continue
                if isinstance(place, asyncio.Event):
                    moving = place
                    break
                places.append(place)
        finally:
            if len(places) < len(wanted):
                give_up(places, [octets for _, octets in wanted])
        if moving is None:
            return places
        await moving.wait()


def give_up(places: Sequence[Place | MailError], octets: Sequence[int]) -> None:
    """None of these will be committed; so many octets were reserved for each."""
    for place, size in zip(places, octets, strict=False):
        if isinstance(place, Place):
            place.give_up(size)


async def _find(load: _Load, target: Target, octets: int) -> Place | asyncio.Event:
    """A place, or what must be waited for. Raises NotFound, OverQuota, LimitReached."""
    while True:
        account = await load(target.account)
        if account.moving is not None:
            return account.moving
        folder = account.folders.get(target.mailbox) or await account.destination(target)
        flags: frozenset[str] = frozenset()
        further: frozenset[str] = frozenset()
        info = None
        if target.flags or not target.into_new:
            flags, info, further = await account.admit(folder, target)
        if account.moving is None and account.folders.get(folder.name) is folder:
            account.reserve(octets, enforce=target.enforce_quota)
            return Place(account, folder, flags, info, further)
