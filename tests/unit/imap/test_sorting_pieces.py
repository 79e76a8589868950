"""What SORT and THREAD compare is asked of the store once, and kept within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailserver.imap.search.remembered import Remembered, key_of
from mailserver.imap.search.sorting_pieces import SortingPieces
from mailserver.mime.sorting import EMPTY, SortField
from mailserver.model.mailbox import Rendered
from tests.helpers.imap_service import ImapHarness

WORKERS = ThreadPoolExecutor(1)


def _piece(uid: int) -> bytes:
    return EMPTY.replace(b"\n", b"%d\n" % uid, 1)


class Box:
    """A mailbox of which only `rendered` is asked."""

    uid_validity = 1

    def __init__(self, mailbox_id: str, *, gone: int = 0) -> None:
        self.mailbox_id = mailbox_id
        self.asked: list[int] = []
        self._gone = gone

    async def rendered(self, uids: Sequence[int], fields: Sequence[Rendered]) -> Mapping[int, Sequence[bytes]]:
        assert fields == (Rendered.SORTING,)
        self.asked += uids
        return {uid: [_piece(uid)] for uid in uids if uid != self._gone}


async def _pieces(kept: SortingPieces, box: Box, uids: Sequence[int]) -> list[int | None]:
    return [piece[SortField.SENT] async for batch in kept.of(box, uids) for piece in batch]  # type: ignore[arg-type]


async def test_each_message_is_asked_for_once() -> None:
    kept, box = SortingPieces(WORKERS), Box("a", gone=3)
    assert await _pieces(kept, box, [1, 2, 3]) == [1, 2, None]
    assert await _pieces(kept, box, [2, 4, 1]) == [2, 4, 1]
    assert box.asked == [1, 2, 3, 4]
    assert await _pieces(kept, Box("b"), range(1, 4002)) == list(range(1, 4002))


async def test_a_new_uidvalidity_is_another_mailbox() -> None:
    kept, box = SortingPieces(WORKERS), Box("a")
    await _pieces(kept, box, [1])
    box.uid_validity = 2
    await _pieces(kept, box, [1])
    assert box.asked == [1, 1]


async def test_no_more_is_kept_than_is_granted() -> None:
    kept, first, second = SortingPieces(WORKERS, limit=2_500), Box("a"), Box("b")
    await _pieces(kept, first, [1, 2, 3])
    await _pieces(kept, second, [1, 2, 3])
    await _pieces(kept, second, [1, 2, 3])
    await _pieces(kept, second, [4])
    assert second.asked == [1, 2, 3, 4]
    await _pieces(kept, first, [1])
    assert first.asked == [1, 2, 3, 1]
    # One that is too large by itself is asked again each time, and answers all the same.
    large = Box("c")
    for _ in range(2):
        assert len(await _pieces(kept, large, range(1, 100))) == 99
    assert len(large.asked) == 198
    assert kept._octets <= 2_500


async def test_what_comes_and_goes_is_sorted_right() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        for subject in (b"b", b"c", b"a"):
            await server.deliver(b"Subject: " + subject + b"\r\n\r\n")
            await imap.ok("NOOP")
            await imap.ok("SORT (SUBJECT) UTF-8 ALL")
        await server.expunge(1)
        await imap.ok("NOOP")
        assert (await imap.ok("UID SORT (SUBJECT) UTF-8 ALL")).untagged == (b"* SORT 3 2",)
        assert (await imap.ok("SORT (SUBJECT) UTF-8 ALL")).untagged == (b"* SORT 2 1",)


def test_what_is_remembered_is_of_these_messages_and_nothing_else() -> None:
    box, other = Box("a"), Box("b")
    keys = [
        key_of(mailbox, what, *columns)  # type: ignore[arg-type]
        for mailbox in (box, other)
        for what in ("x", "y")
        for columns in ([range(1, 3)], [range(1, 4)], [range(1, 3), range(1, 3)], [range(1, 3), range(2, 4)])
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(box, "x", [1, 2]) == key_of(box, "x", range(1, 3)) == keys[0]  # type: ignore[arg-type]


def test_what_is_remembered_is_bounded() -> None:
    remembered = Remembered(limit=4_000)
    for number in range(5):
        remembered.keep(number, bytes(500))
        assert remembered.get(0) is not None
    assert remembered.get(1) is None
    assert remembered.get(3) == bytes(500)
    remembered.keep(9, bytes(1_001))
    assert remembered.get(9) is None


async def test_flags_change_no_order_and_messages_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server:
        await server.deliver(b"Subject: b\r\nMessage-ID: <1@x>\r\n\r\n", b"Subject: a\r\nReferences: <1@x>\r\n\r\n")
        async with server.client(select="INBOX") as imap:
            commands = ("SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL")
            first = [(await imap.ok(command)).untagged for command in commands]
            assert first == [(b"* SORT 2 1",), (b"* THREAD (1 2)",), (b"* THREAD (1 2)",)]
            monkeypatch.setattr(SortingPieces, "of", None)
            await imap.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
            assert [(await imap.ok(command)).untagged for command in commands] == first
            monkeypatch.undo()
            await server.deliver(b"Subject: ab\r\n\r\n")
            await server.expunge(1)
            await imap.ok("NOOP")
            later = [(await imap.ok(command)).untagged for command in commands]
            assert later == [(b"* SORT 1 2",), (b"* THREAD (1)(2)",), (b"* THREAD (2)(3)",)]
