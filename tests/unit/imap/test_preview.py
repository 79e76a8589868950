"""PREVIEW (LAZY): NIL until the preview was made, on either store (RFC 8970 §4.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.memory import MemoryStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.imap_service import ImapHarness


async def _dialogue(store: MemoryStore | MaildirStore) -> None:
    async with ImapHarness(store=store) as server, server.client() as imap:
        await server.deliver(b"Subject: x\r\n\r\nHello\r\n", b"Subject: y\r\n\r\nyou\r\n")
        await imap.ok("SELECT INBOX")
        lazy = await imap.ok("FETCH 1:2 (FLAGS PREVIEW (LAZY))")
        assert lazy.untagged == (b"* 1 FETCH (FLAGS () PREVIEW NIL)", b"* 2 FETCH (FLAGS () PREVIEW NIL)")
        assert (await imap.ok("FETCH 2 PREVIEW")).untagged == (b'* 2 FETCH (PREVIEW "you")',)
        lazy = await imap.ok("FETCH 1:2 PREVIEW (LAZY)")
        assert lazy.untagged == (b"* 1 FETCH (PREVIEW NIL)", b'* 2 FETCH (PREVIEW "you")')
        # What must be made for the rest of the answer is there for this item too.
        both = await imap.ok("FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] PREVIEW (LAZY))")
        assert both.untagged[0].endswith(b'Subject: x\r\n\r\n PREVIEW "Hello")')
        with_text = await imap.ok("FETCH 1 (PREVIEW (LAZY) BODY.PEEK[TEXT])")
        assert with_text.untagged == (b'* 1 FETCH (PREVIEW "Hello" BODY[TEXT] {7}\r\nHello\r\n)',)
        await server.expunge(1)
        gone = await imap.command("FETCH 1:2 PREVIEW (LAZY)")
        assert gone.untagged == (b'* 2 FETCH (PREVIEW "you")',)


@pytest.mark.parametrize("kind", ["memory", "maildir"])
async def test_lazy(kind: str, tmp_path: Path) -> None:
    if kind == "memory":
        await _dialogue(MemoryStore())
        return
    settings = StorageSettings(fill_delay=3600)
    async with MaildirStore(tmp_path, settings, "mail.example.test", SystemClock()) as store:
        await _dialogue(store)
