"""What SORT and THREAD compare is asked of the store once, and kept within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailserver.imap.sorting_pieces import SortingPieces
from mailserver.mime.sorting import EMPTY
from mailserver.model.mailbox import Rendered
from tests.helpers.imap_service import ImapHarness


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
        return {uid: [b"%d" % uid] for uid in uids if uid != self._gone}


async def _pieces(kept: SortingPieces, box: Box, uids: Sequence[int]) -> list[bytes]:
    return [piece async for batch in kept.of(box, uids) for piece in batch]  # type: ignore[arg-type]


async def test_each_message_is_asked_for_once() -> None:
    kept, box = SortingPieces(), Box("a", gone=3)
    assert await _pieces(kept, box, [1, 2, 3]) == [b"1", b"2", EMPTY]
    assert await _pieces(kept, box, [2, 4, 1]) == [b"2", b"4", b"1"]
    assert box.asked == [1, 2, 3, 4]
    assert await _pieces(kept, Box("b"), range(1, 4002)) == [b"%d" % uid for uid in range(1, 4002)]


async def test_a_new_uidvalidity_is_another_mailbox() -> None:
    kept, box = SortingPieces(), Box("a")
    await _pieces(kept, box, [1])
    box.uid_validity = 2
    await _pieces(kept, box, [1])
    assert box.asked == [1, 1]


async def test_no_more_is_kept_than_is_granted() -> None:
    kept, first, second = SortingPieces(limit=1_000), Box("a"), Box("b")
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
    assert kept._octets <= 1_000


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
