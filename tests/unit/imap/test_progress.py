"""INPROGRESS (RFC 9585): how far a command is that takes long; the clock is ours, and messages go two at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.imap.search import sorting_pieces, text
from mailserver.net import files
from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir import mailbox
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.imap_service import ImapHarness, until


class Gate:
    """Opens for the first calls of a function, and for the next ones not before it is told to."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self._open = threading.Event()
        self.reached = False

    def open(self) -> None:
        self._open.set()

    def _closed(self) -> bool:
        self._left -= 1
        self.reached = self._left < 0
        return self.reached

    def around(self, function: Any) -> Any:
        async def waits(*args: Any, **named: Any) -> Any:
            if self._closed():
                await asyncio.to_thread(self._open.wait, 30)
            return await function(*args, **named)

        def blocks(*args: Any, **named: Any) -> Any:
            if self._closed():
                self._open.wait(30)
            return function(*args, **named)

        return waits if asyncio.iscoroutinefunction(function) else blocks


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ImapHarness]:
    """With five messages that are deleted."""
    for place in ((text, "_READ"), (sorting_pieces, "_BATCH"), (mailbox, "_FLAGS_AT_ONCE")):
        monkeypatch.setattr(*place, 2)
    monkeypatch.setattr(mailbox, "_REMOVED_AT_ONCE", 2)
    async with (
        MaildirStore(tmp_path, StorageSettings(), "mail.example.test", SystemClock()) as store,
        ImapHarness(store=store) as server,
    ):
        await server.deliver(*[b"Subject: x\r\n\r\nhello\r\n"] * 5, flags=frozenset({"\\Deleted"}))
        yield server


@pytest.mark.parametrize(
    ("command", "where", "calls", "told"),
    [
        ("SEARCH BODY HELLO", (MaildirMailbox, "rendered"), 1, "2 5"),
        ("SEARCH 2:5 BODY HELLO", (MaildirMailbox, "rendered"), 1, "2 4"),
        ("SORT (SUBJECT) UTF-8 ALL", (MaildirMailbox, "rendered"), 2, "4 5"),
        ("THREAD REFERENCES UTF-8 ALL", (MaildirMailbox, "rendered"), 1, "2 5"),
        ("STORE 1:* +FLAGS.SILENT (x)", (MaildirMailbox, "_set_flags"), 2, "4 5"),
        ("EXPUNGE", (MaildirMailbox, "expunge_held"), 1, "2 5"),
        ("CLOSE", (MaildirMailbox, "expunge_held"), 1, "2 5"),
        ("COPY 1:4 Sent", (files, "link_or_copy"), 3, "3 4"),
        ("MOVE 1:* Trash", (files, "link_or_copy"), 2, "2 5"),
        ("FETCH 1:* BODY[]", (MaildirMailbox, "_set_flags"), 1, "0 5"),
    ],
)
async def test_how_many_messages_are_done(
    server: ImapHarness, monkeypatch: pytest.MonkeyPatch, command: str, where: tuple[Any, str], calls: int, told: str
) -> None:
    async with server.client(select="INBOX") as imap:
        gate = Gate(calls)
        monkeypatch.setattr(*where, gate.around(getattr(*where)))
        imap.writer.write(f"c {command}\r\n".encode())
        try:
            await until(lambda: gate.reached)
            (connection,) = server.connections
            connection.check(asyncio.get_running_loop().time() + 11)
            assert await imap.response_line() == f'* OK [INPROGRESS ("c" {told})] Still working on this'.encode()
        finally:
            gate.open()
        while not (line := await imap.response_line()).startswith(b"c "):
            assert b"INPROGRESS" not in line
        assert line.startswith(b"c OK")
