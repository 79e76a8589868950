"""The header of a message that a program on this machine sends: addresses without a domain get one (RFC 6409 §8.8).

Only entries that need it are written anew, so that everything else stays as the program wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailserver.mime.addresses import MISSING_DOMAIN, MISSING_MAILBOX, parse_addresses
from mailserver.mime.headers import fields, unfold
from mailserver.smtp.compose import HeaderCompletion
from mailserver.smtp.local_users import LocalUser, LocalUsers

__all__ = ["LocalCompletion", "split_list"]

_AUTHORS = frozenset((b"from", b"sender", b"resent-from", b"resent-sender"))
_RECIPIENTS = frozenset((b"to", b"cc", b"reply-to", b"resent-to", b"resent-cc"))
_MARKS = re.compile(rb'\\.|["(),<>]', re.DOTALL)
_ATOMS = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ \x80-\xff-]+")
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f]")
#: What is completed of a header: entries, octets of their fields, octets of one entry. The rest stays as it is.
_MOST_ENTRIES, _MOST_OCTETS, _LONGEST_ENTRY = 2000, 128 << 10, 2000


class LocalCompletion:
    """A `HeaderEditor`: completes addresses, then adds what is missing."""

    def __init__(self, users: LocalUsers, user: LocalUser, completion: HeaderCompletion) -> None:
        self._users = users
        self._user = user
        self._completion = completion

    def edit(self, header: bytes) -> bytes:
        """The completed header block."""
        out, done = [], 0
        octets, entries = 0, 0
        for name, start, end in fields(header):
            if name not in _AUTHORS and name not in _RECIPIENTS:
                continue
            octets += end - start
            if octets > _MOST_OCTETS or entries > _MOST_ENTRIES:
                break
            at = header.index(b":", start) + 1
            value = header[at:end]
            found = list(split_list(value))
            entries += len(found)
            if entries > _MOST_ENTRIES:
                break
            edited = b",".join(self._entry(entry, author=name in _AUTHORS) for entry in found)
            if edited != value:
                out += [header[done:at], edited]
                done = end
        return self._completion.edit(b"".join([*out, header[done:]]))

    def _entry(self, entry: bytes, *, author: bool) -> bytes:
        if len(entry) > _LONGEST_ENTRY:
            return entry
        found = parse_addresses(unfold(entry).strip())
        if len(found) != 1 or found[0].mailbox in (None, MISSING_MAILBOX):
            return entry
        name, _, mailbox, domain, _ = found[0]
        bare = domain in (None, MISSING_DOMAIN)
        if domain is None or mailbox is None or not (bare or self._users.is_here(domain.decode("ascii", "replace"))):
            return entry
        local = mailbox.decode("utf-8", "replace")
        address = self._users.author(self._user, local) if author else self._users.recipient(self._user, local)
        shown = _phrase(name or (mailbox if author and address.local != local else b""))
        text = str(address).encode()
        body = entry.strip(b" \t\r\n")
        lead = entry[: entry.index(body)]
        return lead + (shown + b" <" + text + b">" if shown else text) + entry[len(lead) + len(body) :]


def split_list(value: bytes) -> Iterator[bytes]:
    """The entries of an address list between its commas, octet for octet; commas in quotes and comments are text."""
    start = depth = 0
    quoted = angle = False
    for match in _MARKS.finditer(value):
        mark = match[0]
        if quoted:
            quoted = mark != b'"'
        elif mark == b"(":
            depth += 1
        elif mark == b")":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif mark == b'"':
            quoted = True
        elif mark in b"<>":
            angle = mark == b"<"
        elif mark == b"," and not angle:
            yield value[start : match.start()]
            start = match.end()
    yield value[start:]


def _phrase(name: bytes) -> bytes:
    clean = _UNSAFE.sub(b" ", name).strip()
    return clean if _ATOMS.fullmatch(clean) or not clean else b'"' + re.sub(rb'(["\\])', rb"\\\1", clean) + b'"'
