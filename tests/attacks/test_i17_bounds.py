"""ATTACKS I17: what a client can pile up has a bound, in words; METADATA here, with what it costs to keep it."""

from __future__ import annotations

from pathlib import Path

from mailserver.model.metadata import MAX_TOTAL, MAX_VALUE
from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.imap_service import ImapHarness


def _octets(path: Path, name: str) -> int:
    return sum(file.stat().st_size for file in path.rglob(f"*{name}*"))


async def test_i17_huge_metadata(tmp_path: Path) -> None:
    async with (
        MaildirStore(tmp_path, StorageSettings(), "mail.example.test", SystemClock()) as store,
        ImapHarness(store=store) as server,
        server.client() as imap,
    ):
        statuses = []
        for number in range(3 * MAX_TOTAL // MAX_VALUE):
            head = f"SETMETADATA INBOX (/private/x/{number} {{{MAX_VALUE}+}}"
            answer = await imap.command(f"{head}\r\n{'x' * MAX_VALUE})")
            statuses.append(answer.status)
            assert answer.status == "OK" or answer.code("LIMIT") == ""
        assert statuses[0] == "OK" and statuses[-1] == "NO"
        assert _octets(tmp_path, "mailserver-metadata") < 2 * MAX_TOTAL
        # The file that every delivery may have to write does not grow by it.
        assert _octets(tmp_path, "mailserver-folder") < 10_000
        assert (await imap.ok("GETMETADATA INBOX (DEPTH infinity MAXSIZE 0) /private")).code("METADATA") is not None
