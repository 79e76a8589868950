"""What tests of the queue have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.ids import QueueId
from mailserver.queue.codec import encode, read_new
from mailserver.queue.disk import DiskQueue
from mailserver.queue.reading import Found, SetAside, names, read_items
from mailserver.queue.record import Dot, Fail, Record, Try
from mailserver.queue.settings import QueueSettings
from mailserver.queue.spool import Spool
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent

__all__ = [
    "ID", "LATER", "MESSAGE", "NO", "RECORDS", "SENT", "content_of", "envelope", "failing", "make_item", "recover",
]  # fmt: skip

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
ID = QueueId("0123456789abcdef")
SENT = Result(outcome=Outcome.DELIVERED, status="2.0.0", reply="250 2.0.0 ok", code=250)
LATER = Result(outcome=Outcome.DEFERRED, status="4.2.1", reply="450 4.2.1 later", code=450)
NO = Result(outcome=Outcome.FAILED, status="5.1.1", reply="550 no", code=550)
#: Of an item with two recipients.
RECORDS: list[Record] = [
    Try(at=1.0, recipients=(0, 1), next_attempt=1.9e9, result=LATER),
    Fail(at=2.0, recipients=(1,), result=NO),
    Dot(at=3.0, recipients=(0,)),
]


def envelope(*recipients: str, sender: str | None = "s@example.test") -> Envelope:
    """One recipient if none is named."""
    return Envelope(
        sender=None if sender is None else EmailAddress.parse(sender),
        recipients=tuple(Recipient(address=EmailAddress.parse(r)) for r in recipients or ("r@other.test",)),
    )


async def make_item(root: Path) -> bytes:
    """A queue with the item `ID` in it; returns its file with RECORDS appended, which the file itself lacks."""
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        await queue.inject(ID, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE))
    return (root / "items" / ID).read_bytes() + b"".join(map(encode, RECORDS))


def content_of(path: Path) -> bytes:
    """The content in an item's file."""
    data = path.read_bytes()
    new, start = read_new(data, whole=True)
    return data[start : start + new.size]


def recover(spool: Spool) -> tuple[dict[QueueId, Found], list[SetAside]]:
    """What a start would find in items/."""
    outcomes = [outcome for _, outcome in read_items(spool, names(spool))]
    found = {outcome.item.queue_id: outcome for outcome in outcomes if isinstance(outcome, Found)}
    aside = [outcome for outcome in outcomes if isinstance(outcome, SetAside)]
    assert len(found) + len(aside) == len(outcomes), "the disk is well"
    return found, aside


def failing(
    call: str, error: int, monkeypatch: pytest.MonkeyPatch, when: Callable[..., bool] = lambda *_: True
) -> None:
    """From now on `os.<call>` fails with this errno for the arguments that `when` says."""
    real = getattr(os, call)

    def fail(*args: object, **named: object) -> object:
        if when(*args):
            raise OSError(error, os.strerror(error))
        return real(*args, **named)

    monkeypatch.setattr(os, call, fail)
