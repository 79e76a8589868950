"""The header of a message that one of our users sends: completing it (RFC 6409 §8), and who it says wrote it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from mailserver.mime.addresses import read_addresses
from mailserver.mime.compose import missing_fields
from mailserver.mime.headers import field_value, fields, header_block_end, unfold
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput

__all__ = ["Authors", "HeaderCompletion", "visible_senders"]

# Everything that reads like the field to some program counts as the field: obsolete white space before the colon too.
_FROM = re.compile(rb"^from[ \t]*:", re.IGNORECASE | re.MULTILINE)
_DOT_ATOM = re.compile(r"[^\s\"(),:;<>@\\\[\]]+")
_BCC = re.compile(rb"^(?:resent-)?bcc[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.IGNORECASE | re.MULTILINE)


class HeaderCompletion:
    """Adds Date, Message-ID and From where they are missing, and takes Bcc away. `now` is in epoch seconds."""

    def __init__(self, hostname: str, sender: EmailAddress | None, now: float) -> None:
        self._hostname = hostname
        self._sender = sender
        self._now = now

    def edit(self, header: bytes) -> bytes:
        """The completed header block; what is added stands on top."""
        present = {name for name, _, _ in fields(header)}
        if b"bcc" in present or b"resent-bcc" in present:
            header = _BCC.sub(b"", header)
        domain = self._sender.domain if self._sender is not None else self._hostname
        domain = self._hostname if domain.startswith("[") else domain
        # Where there is one already, the system call is spared.
        message_id = "" if b"message-id" in present else f"{secrets.token_hex(16)}@{domain}"
        added = missing_fields(present, epoch=self._now, message_id=message_id)
        if b"from" not in present and not _FROM.search(header) and self._sender is not None:
            added += f"From: {self._sender}\r\n".encode()
        if not added:
            return header
        # Without an empty line what came may be no header at all, and must not become one by what we add.
        first_line = header.partition(b"\r\n")[0]
        gap = b"" if not header or header.startswith(b"\r\n") or present or not first_line else b"\r\n"
        return added + gap + header


@dataclass(frozen=True, slots=True)
class Authors:
    """Who a header says wrote the message. `unreadable`: an entry of From or Sender is no address, or there are more
    of these fields than may be; then `addresses` are not all."""

    from_fields: int
    addresses: tuple[EmailAddress, ...]
    unreadable: bool


def visible_senders(head: bytes) -> Authors:
    """The addresses of From and Sender."""
    count = len(_FROM.findall(head, 0, header_block_end(head)))
    found = [field for field in fields(head) if field[0] in (b"from", b"sender")]
    names = [name for name, _, _ in found]
    if count > 1 or names.count(b"from") != count or names.count(b"sender") > 1:
        # RFC 5322 §3.6: one of each. What is refused in any case is not read, which could take seconds.
        return Authors(count, (), True)
    addresses: dict[EmailAddress, None] = {}
    for _, start, stop in found:
        entries, complete = read_addresses(unfold(field_value(head, start, stop)))
        known = [_address(entry.mailbox, entry.domain) if entry.is_mailbox else None for entry in entries]
        addresses |= dict.fromkeys(address for address in known if address is not None)
        if not known or not complete or None in known:
            return Authors(count, tuple(addresses), True)
    return Authors(count, tuple(addresses), False)


def _address(mailbox: bytes | None, domain: bytes | None) -> EmailAddress | None:
    try:
        local = (mailbox or b"").decode()
        if not _DOT_ATOM.fullmatch(local):
            local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
        return EmailAddress.parse(f"{local}@{(domain or b'').decode()}")
    except (InvalidInput, UnicodeDecodeError):
        return None
