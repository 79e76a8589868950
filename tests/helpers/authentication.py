"""Mail of other servers for the real daemon: clients at any address, by the PROXY protocol, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.maildir import uid_of
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import until

__all__ = ["ANNA", "PROXY", "deliver", "inbox", "results"]

ANNA = f"anna@{DOMAIN}"
#: Settings of `[smtp]` with which `deliver` can be at any address.
PROXY = 'proxy_from = ["127.0.0.1"]'


def deliver(
    daemon: Daemon, content: bytes, *, sender: str = "any@attack.test", peer: str = "192.0.2.66",
    helo: str = "attack.test", recipient: str = ANNA, also: Sequence[str] = (),
) -> Reply:  # fmt: skip
    """One message from the host `peer` to `recipient` and `also`; the reply to it, or to the first command that was
    refused."""
    family = "TCP6" if ":" in peer else "TCP4"
    here = "::1" if ":" in peer else "127.0.0.1"
    with Smtp(daemon.ports["smtp"], greeting=False) as smtp:
        smtp.send(f"PROXY {family} {peer} {here} 40000 25\r\n".encode())
        assert smtp.reply().code == 220
        reply = smtp.command(f"EHLO {helo}")
        return smtp.message(sender, [recipient, *also], content) if reply.code == 250 else reply


def inbox(daemon: Daemon, mailbox: str = "", count: int = 1) -> list[bytes]:
    """anna's messages of INBOX, or of a folder, as they are on disk; the oldest first."""
    root = daemon.data / DOMAIN / "anna"
    folder = root / f".{mailbox}" if mailbox else root

    def look() -> list[Path]:
        folders = [folder / sub for sub in ("new", "cur") if (folder / sub).is_dir()]
        files = [file for found in folders for file in found.iterdir()]
        return files if len(files) >= count else []

    # A file may be given its name while it is looked at.
    files = until(look, lambda: f"{mailbox or 'INBOX'} has not {count} messages:\n{daemon.log_text()[-3000:]}")
    return [file.read_bytes() for file in sorted(files, key=uid_of)]


def results(message: bytes) -> str:
    """Our Authentication-Results, on one line; "" if there is none."""
    head = message.partition(b"\r\n\r\n")[0].decode().replace("\r\n\t", " ").replace("\r\n ", " ")
    found = [line for line in head.split("\r\n") if line.startswith("Authentication-Results: mail.example.test;")]
    assert len(found) <= 1, found
    return " ".join(found[0].split()) if found else ""
