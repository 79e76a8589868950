"""What sessions read of an open mailbox: rendered pieces out of the index, and messages out of their files.

Reading waits for no other operation, so what it finds may have changed meanwhile; it then looks again.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TypeVar

from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.mailbox import Rendered
from mailserver.storage.maildir import reading, rows
from mailserver.storage.maildir.folder import Seen
from mailserver.storage.maildir.index import IndexLost
from mailserver.storage.maildir.live_table import LiveTable
from mailserver.storage.maildir.pieces import pieces_between, pieces_with
from mailserver.storage.maildir.rows import FileRow
from mailserver.storage.maildir.sifting import sift_batch

__all__ = ["MailboxReading"]

_T = TypeVar("_T")
_FILES_AT_ONCE = 500
_PIECES_AT_ONCE = 1_000
#: Of so many messages one is asked for: then it costs less to ask for each than to look through all.
_SPARSE = 16


class MailboxReading(LiveTable):
    """Reading the messages of the table."""

    async def rendered(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> Mapping[int, Sequence[bytes]]:
        """uid → the asked fields."""
        found: dict[int, Sequence[bytes]] = {}
        async for there, columns in self.pieces(uids, fields, make=make):
            found.update(zip(there, zip(*columns, strict=True), strict=True))
        return found

    async def pieces(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> AsyncGenerator[tuple[Sequence[int], Sequence[Sequence[bytes]]], None]:
        """The asked fields, batch by batch."""
        index, run = self._upkeep.index, self._upkeep.context.reading.run
        uids, at, size = self._present(uids), 0, _PIECES_AT_ONCE
        while at < len(uids):
            number = await self._indexed()
            some = uids[at : at + size]
            try:
                batch = await run(reading.read_rendered, index, self.folder, number, some, fields, make)
            except IndexLost:
                continue
            except OSError as error:
                raise _unreadable(error) from error
            at += batch.done
            # What is read beyond a message that must be rendered first is read again.
            size = min(_PIECES_AT_ONCE, 2 * batch.done)
            if batch.columns and batch.uids:
                yield batch.uids, batch.columns

    def _present(self, uids: Sequence[int]) -> list[int]:
        """These UIDs, ascending. After a removal only those that are there: pieces go later than their messages."""
        table = self.table
        return [table.uids[at] for at in table.positions(uids)] if table.generation else sorted(uids)

    async def rendered_with(self, uids: Sequence[int], field: Rendered, octets: bytes) -> Mapping[int, bytes]:
        """uid → the field, where it has these octets."""
        number = await self._indexed()
        index, run = self._upkeep.index, self._upkeep.context.reading.run
        wanted = self._present(uids)
        if not wanted:
            return {}
        present = bisect_right(self.table.uids, wanted[-1]) - bisect_left(self.table.uids, wanted[0])
        if present > _SPARSE * len(wanted):
            pieces = await self.rendered(wanted, (field,))
            return {uid: piece for uid, (piece,) in pieces.items() if octets in piece}
        try:
            found, lacking = await run(
                lambda: index.run(lambda db: pieces_with(db, number, wanted, field, octets, present))
            )
        except IndexLost:
            return await self.rendered_with(uids, field, octets)
        if lacking:
            made = await self.rendered(lacking, (field,))
            found.update({uid: piece for uid, (piece,) in made.items() if octets in piece})
        return found

    async def rendered_between(self, uids: Sequence[int], field: Rendered, first: bytes, end: bytes) -> set[int]:
        """The messages whose field is within this range."""
        number = await self._indexed()
        index, run = self._upkeep.index, self._upkeep.context.reading.run
        wanted = self._present(uids)
        if not wanted:
            return set()
        present = bisect_right(self.table.uids, wanted[-1]) - bisect_left(self.table.uids, wanted[0])
        found, lacking = set[int](), wanted
        if present <= _SPARSE * len(wanted):
            try:
                found, lacking = await run(
                    lambda: index.run(lambda db: pieces_between(db, number, wanted, field, (first, end), present))
                )
            except IndexLost:
                return await self.rendered_between(uids, field, first, end)
        if lacking:
            made = await self.rendered(lacking, (field,))
            found.update(uid for uid, (piece,) in made.items() if first <= piece < end)
        return found

    def read_many(
        self, uids: Sequence[int], *, header_only: bool = False
    ) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """Whole messages or header blocks, batch by batch."""
        return self._in_batches(uids, functools.partial(reading.read_batch, self.folder, header_only=header_only))

    def sift(self, sizes: Mapping[int, int], test: Callable[[int, bytes], bool]) -> AsyncGenerator[list[int], None]:
        """Those that pass the test, batch by batch."""
        work = functools.partial(sift_batch, self.folder, sizes=sizes, test=test)
        return self._in_batches(list(sizes), work)

    async def _in_batches(
        self, uids: Sequence[int], work: Callable[..., tuple[list[_T], int]]
    ) -> AsyncGenerator[list[_T], None]:
        run = self._upkeep.context.reading.run
        for start in range(0, len(uids), _FILES_AT_ONCE):
            left: Sequence[int] = uids[start : start + _FILES_AT_ONCE]
            try:
                places = await self._places(left)
                looked = False
                if any(uid not in places and self.table.find(uid) >= 0 for uid in left):
                    # The index does not find what it told before.
                    await self._look_again()
                    places, looked = await self._places(left), True
                while left:
                    batch, done = await run(functools.partial(work, places, left, patient=not looked))
                    left = left[done:]
                    if batch:
                        yield batch
                    elif not done:
                        # The index has a name for which there is no file (ATTACKS H03, H07).
                        await self._look_again()
                        places, looked = await self._places(left), True
            except OSError as error:
                raise _unreadable(error) from error

    async def read(self, uid: int, start: int = 0, size: int | None = None) -> bytes:
        """A range of a message."""
        self._check()
        row = (await self._places([uid])).get(uid) if self.table.find(uid) >= 0 else None
        if row is None:
            raise NotFound("the message is gone")
        run = self._upkeep.context.reading.run
        try:
            try:
                return await run(reading.read_range, self.folder, row, start, size)
            except FileNotFoundError:
                await self._look_again()
                row = (await self._places([uid])).get(uid, row)
                return await run(reading.read_range, self.folder, row, start, size)
        except FileNotFoundError:
            raise NotFound("the message is gone") from None
        except OSError as error:
            raise _unreadable(error) from error

    async def _look_again(self) -> None:
        """Compare everything with the directory, whatever its mtime says."""
        self.folder.seen = Seen()
        await self._account.refresh(self.folder)

    async def _places(self, uids: Sequence[int]) -> dict[int, FileRow]:
        number = await self._indexed()
        index = self._upkeep.index
        wanted = sorted(uids)
        try:
            return await self._upkeep.context.reading.run(
                lambda: index.run(lambda db: rows.file_rows(db, number, wanted))
            )
        except IndexLost:
            return await self._places(uids)

    async def _indexed(self) -> int:
        """The folder's number, when everything visible is in the index. Raises NotFound."""
        self._check()
        folder, upkeep = self.folder, self._upkeep
        if not folder.unindexed and folder.synced == upkeep.index.generation:
            return folder.number
        return await self._operate(lambda: upkeep.transact(folder, lambda db, number: number))


def _unreadable(error: OSError) -> StorageFailure:
    return StorageFailure("the message cannot be read now, try again later", detail=str(error))
