"""Mail of other servers for the real daemon: clients at any address, by the PROXY protocol, and what became of it."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.smtp import Reply, Smtp

__all__ = ["ANNA", "PROXY", "deliver", "inbox", "results"]

ANNA = f"anna@{DOMAIN}"
#: Settings of `[smtp]` with which `deliver` can be at any address.
PROXY = 'proxy_from = ["127.0.0.1"]'


def deliver(
    daemon: Daemon, content: bytes, *, sender: str = "any@attack.test", peer: str = "192.0.2.66",
    helo: str = "attack.test", recipient: str = ANNA,
) -> Reply:  # fmt: skip
    """One message from the host `peer`; the reply to it, or to the first command that was refused."""
    family = "TCP6" if ":" in peer else "TCP4"
    here = "::1" if ":" in peer else "127.0.0.1"
    with Smtp(daemon.ports["smtp"], greeting=False) as smtp:
        smtp.send(f"PROXY {family} {peer} {here} 40000 25\r\n".encode())
        assert smtp.reply().code == 220
        reply = smtp.command(f"EHLO {helo}")
        return smtp.message(sender, [recipient], content) if reply.code == 250 else reply


def inbox(daemon: Daemon, mailbox: str = "", count: int = 1) -> list[bytes]:
    """anna's messages of INBOX, or of a folder, as they are on disk; the oldest first."""
    root = daemon.data / DOMAIN / "anna"
    folder = root / f".{mailbox}" if mailbox else root
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        folders = [folder / sub for sub in ("new", "cur") if (folder / sub).is_dir()]
        files: list[Path] = [file for found in folders for file in found.iterdir()]
        if len(files) >= count:
            return [file.read_bytes() for file in sorted(files, key=_uid)]
        time.sleep(0.05)
    raise AssertionError(f"{mailbox or 'INBOX'} has {len(files)} messages, not {count}:\n{daemon.log_text()[-3000:]}")


def _uid(file: Path) -> int:
    match = re.search(r",U=([0-9]+)", file.name)
    return int(match[1]) if match else 0


def results(message: bytes) -> str:
    """Our Authentication-Results, on one line; "" if there is none."""
    head = message.partition(b"\r\n\r\n")[0].decode().replace("\r\n\t", " ").replace("\r\n ", " ")
    found = [line for line in head.split("\r\n") if line.startswith("Authentication-Results: mail.example.test;")]
    assert len(found) <= 1, found
    return " ".join(found[0].split()) if found else ""
