"""A message as programs write it to sendmail(1): its header found, its recipients, what the options add to it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from mailserver.commands.mta.status import DATA, Stopped
from mailserver.mime.addresses import MISSING_DOMAIN, MISSING_MAILBOX, Address, read_list
from mailserver.mime.headers import field_value, fields, unfold

__all__ = ["HERE", "Message", "addresses"]

#: The domain of names without one; the server knows what it stands for.
HERE = "localhost"
_IN_MEMORY = 1 << 20
_LONGEST_HEADER = 1 << 20
_FIELD = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")
_NO_DOMAIN = re.compile(rb"@\s*(?:[,;>]|\Z)")
_MBOX = re.compile(rb">?From (?![ \t]*:)")
_ATOM = r"[^\s\".(),:;<>@\\\[\]]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")


class Message:
    """`header` without the empty line behind it, the body in a file as it came; a context manager."""

    def __init__(self, source: BinaryIO, *, dot_ends: bool) -> None:
        self.header = b""
        self._body = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self.eight_bit = False
        self._lines = 0
        self._read(_until_dot(source) if dot_ends else iter(source))

    def __enter__(self) -> Message:
        return self

    def __exit__(self, *error: object) -> None:
        self._body.close()

    @property
    def size(self) -> int:
        """Octets, nearly: as if each line ended with CRLF."""
        return len(self.header) + 2 + self._body.tell() + self._lines

    def add(self, field: str) -> None:
        """Put a header field, without its line end, on top."""
        self.header = field.encode("utf-8", "surrogateescape") + b"\r\n" + self.header

    def has(self, name: bytes) -> bool:
        """Is there a field of this (lower-case) name?"""
        return any(found == name for found, _, _ in fields(self.header))

    def recipients(self) -> list[str]:
        """Those in To, Cc and Bcc; of a message that is sent once more, those of the Resent- fields alone."""
        found = fields(self.header)
        resent = any(name in (b"resent-to", b"resent-cc", b"resent-bcc") for name, _, _ in found)
        wanted = {(b"resent-" if resent else b"") + name for name in (b"to", b"cc", b"bcc")}
        out = []
        for name, start, end in found:
            if name in wanted:
                out += addresses(unfold(field_value(self.header, start, end)), what=name.decode("ascii", "replace"))
        return out

    def lines(self) -> Iterator[bytes]:
        """All of it, line by line; may be asked for again."""
        yield from self.header.splitlines(keepends=True)
        yield b"\r\n"
        end = self._body.tell()
        self._body.seek(0)
        yield from self._body
        self._body.seek(end)

    def file(self) -> BinaryIO:
        """All of it as a file at its start."""
        out = tempfile.TemporaryFile()  # noqa: SIM115
        out.writelines(self.lines())
        out.seek(0)
        return out

    def _read(self, lines: Iterator[bytes]) -> None:
        header: list[bytes] = []
        size = 0
        for number, line in enumerate(lines):
            if number == 0 and _MBOX.match(line):
                continue  # the separator of mbox files
            bare = line.rstrip(b"\r\n")
            size += len(line)
            if not bare:
                break
            continued = header and line.startswith((b" ", b"\t"))
            if not (continued or _FIELD.match(line)) or size > _LONGEST_HEADER:
                self._keep(line)  # a header that ends without an empty line
                break
            header.append(bare + b"\r\n")
        self.header = b"".join(header)
        self.eight_bit = not self.header.isascii()
        for line in lines:
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        self._body.write(line)
        self._lines += 1
        self.eight_bit = self.eight_bit or not line.isascii()


def _until_dot(source: BinaryIO) -> Iterator[bytes]:
    for line in source:
        if line in (b".\n", b".\r\n", b"."):
            return
        yield line


def addresses(text: bytes, *, what: str = "") -> list[str]:
    """The addresses of a list, as they stand in SMTP; names without a domain get `HERE`. Raises Stopped."""
    entries, whole = read_list(text)
    # The beginning and the end of a group have no domain, not even a missing one.
    found = [_address(entry) for entry in entries if entry.mailbox is not None and entry.domain is not None]
    if not whole or not all(found) or (_NO_DOMAIN.search(text) and any(not entry.valid for entry in entries)):
        where = f" in {what}" if what else ""
        raise Stopped(DATA, f"there is something{where} that is no address: {text.decode('utf-8', 'replace')[:200]}")
    return found


def _address(entry: Address) -> str:
    """ "" for what is none."""
    if entry.mailbox in (None, MISSING_MAILBOX) or not (entry.valid or entry.domain == MISSING_DOMAIN):
        return ""
    local = (entry.mailbox or b"").decode("utf-8", "replace")
    if not _DOT_ATOM.fullmatch(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    domain = HERE if entry.domain == MISSING_DOMAIN else (entry.domain or b"").decode("utf-8", "replace")
    address = f"{local}@{domain}"
    return address if address.isprintable() else ""
