"""The IMAP dialogues, over real sockets, on every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.imap_service import PASSWORD, ImapHarness
from tests.transcripts.player import play, read_transcript

_FILES = sorted((Path(__file__).parent / "imap").glob("*.txt"))
_LOGIN = f'LOGIN anna "{PASSWORD}"'
_OTHER = f'LOGIN ben "{PASSWORD}"'


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
async def test_memory(path: Path) -> None:
    async with ImapHarness() as server:
        await play(read_transcript(path), server.port(), _LOGIN, _OTHER)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
async def test_maildir(path: Path, tmp_path: Path) -> None:
    async with (
        MaildirStore(tmp_path, StorageSettings(), "mail.example.test", SystemClock()) as store,
        ImapHarness(store=store) as server,
    ):
        await play(read_transcript(path), server.port(), _LOGIN, _OTHER)
