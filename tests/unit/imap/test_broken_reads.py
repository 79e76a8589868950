"""A message that cannot be read while it is sent: no answer stands where its octets are awaited (ATTACKS I16)."""

from __future__ import annotations

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.storage.memory_mailbox import MemoryMailbox
from tests.helpers.imap import Closed
from tests.helpers.imap_service import ImapHarness

LARGE = b"Subject: x\r\n\r\n" + b"y" * 400_000
URL = "imap://anna%40example.test@mail.example.test/INBOX/;UID=1;URLAUTH=authuser"


@pytest.mark.parametrize("command", ["FETCH 1 (UID BODY[] FLAGS)", "FETCH 1 (UID BINARY[])", "URLFETCH {url}"])
@pytest.mark.parametrize("most", [0, 200_000])
async def test_the_connection_ends(monkeypatch: pytest.MonkeyPatch, command: str, most: int) -> None:
    real = MemoryMailbox.read

    async def read(self: MemoryMailbox, uid: int, start: int = 0, size: int | None = None) -> bytes:
        if start + (size or 0) > most:
            raise StorageFailure("the disk is broken")
        return await real(self, uid, start, size)

    async with ImapHarness() as server:
        await server.deliver(LARGE)
        async with server.client(select="INBOX") as imap:
            (line,) = (await imap.ok(f'GENURLAUTH "{URL}" INTERNAL')).untagged
            monkeypatch.setattr(MemoryMailbox, "read", read)
            imap.writer.write(f"n {command}\r\n".replace("{url}", line.split()[-1].decode()).encode())
            with pytest.raises(Closed):
                while True:
                    assert not (await imap.response_line()).startswith(b"n ")
