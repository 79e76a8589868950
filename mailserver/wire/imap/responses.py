"""Values → the bytes of responses (RFC 9051 §7). What strangers chose never breaks a line: it is quoted or a literal.

Every function gives whole responses, CRLF included, or (where its text says so) a piece of one. `utf8` is True once the
client enabled UTF8=ACCEPT or IMAP4rev2: then strings are quoted UTF-8 and mailbox names are not modified UTF-7.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence

from mailserver.model.numset import NumSet
from mailserver.model.progress import Progress
from mailserver.model.rights import Rights, render_rights
from mailserver.wire.imap import utf7
from mailserver.wire.imap.commands import StatusItem
from mailserver.wire.imap.sequence_set import PartialRange

__all__ = [
    "CONTINUE", "acl", "astring", "challenge", "context_update", "continuation", "enabled", "esearch", "id_response",
    "list_line", "list_rights", "mailbox", "metadata", "metadata_changed", "my_rights", "namespace", "nstring",
    "ordered_set", "quota", "quota_root", "search", "sort", "status", "status_line", "string", "text_string",
    "vanished",
]  # fmt: skip

CONTINUE = b"+ go ahead\r\n"

# Octets that may stand between quotes as they are. Control characters are legal there, and yet better in a literal.
_QUOTABLE = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e]{0,1000}")
_QUOTABLE_ESCAPED = re.compile(rb"[\x20-\x7e]{0,1000}")
_QUOTABLE_UTF8 = re.compile(rb"[\x20-\x7e\x80-\xff]{0,1000}")
_ATOM = re.compile(rb"[!#$&'+,./0-9:;<=>?@A-Z\[^_`a-z|}~-]{1,100}")
_ESCAPED = re.compile(rb'(["\\])')
_NOT_TEXT = re.compile(r"[^\x20-\x7e]")


# Strings


def string(data: bytes) -> bytes:
    """Quoted if it can be, else a literal. NUL has no place in either and becomes 0x80, so sizes stay true."""
    if _QUOTABLE.fullmatch(data):
        return b'"%b"' % data
    if _QUOTABLE_ESCAPED.fullmatch(data):
        return b'"%b"' % _ESCAPED.sub(rb"\\\1", data)
    return b"{%d}\r\n%b" % (len(data), data.replace(b"\0", b"\x80"))


def nstring(data: bytes | None) -> bytes:
    """As `string`; None is NIL."""
    return b"NIL" if data is None else string(data)


def text_string(text: str, *, utf8: bool) -> bytes:
    """Text as a string: UTF-8, quoted where the client can take that, else a literal when it is not ASCII."""
    data = text.encode("utf-8", "replace")
    if utf8 and _QUOTABLE_UTF8.fullmatch(data):
        return b'"%b"' % _ESCAPED.sub(rb"\\\1", data)
    return string(data)


def astring(data: bytes) -> bytes:
    """An atom if it can be, else as `string`."""
    return data if _ATOM.fullmatch(data) and data.upper() != b"NIL" else string(data)


def mailbox(name: str, *, utf8: bool) -> bytes:
    """A mailbox name, always quoted or a literal."""
    return text_string(name, utf8=True) if utf8 else string(utf7.encode(name))


# Status responses and continuations


def status_line(tag: bytes, condition: str, text: str, code: str = "") -> bytes:
    """`tag OK [code] text`; `tag` b"*" makes it untagged. Anything but printable ASCII in text and code becomes `?`."""
    line = f"{condition} [{code}] {text}" if code else f"{condition} {text}"
    return b"%b %b\r\n" % (tag, _NOT_TEXT.sub("?", line).encode("ascii"))


def in_progress(tag: bytes, progress: Progress) -> bytes:
    """RFC 9585 §4; a tag that would end the code is not told."""
    named = b'"%b"' % tag if b"]" not in tag else b"NIL"
    done = b"%d %d" % (progress.done, progress.total) if progress.done < progress.total else b"NIL NIL"
    return b"* OK [INPROGRESS (%b %b)] Still working on this\r\n" % (named, done)


def continuation(text: str) -> bytes:
    """`+ text`."""
    return b"+ %b\r\n" % _NOT_TEXT.sub("?", text).encode("ascii")


def challenge(data: bytes) -> bytes:
    """A SASL challenge (RFC 9051 §6.2.2)."""
    return b"+ %b\r\n" % binascii.b2a_base64(data, newline=False)


# Server and mailbox data


def enabled(names: Iterable[str]) -> bytes:
    """RFC 9051 §7.2.1."""
    return b"* " + " ".join(("ENABLED", *names)).encode("ascii") + b"\r\n"


def id_response(fields: Iterable[tuple[str, str | None]]) -> bytes:
    """RFC 2971 §3.2; no fields are NIL."""
    parts = [nstring(None if part is None else part.encode()) for field in fields for part in field]
    return b"* ID (%b)\r\n" % b" ".join(parts) if parts else b"* ID NIL\r\n"


def namespace(prefixes: tuple[str | None, str | None, str | None], separator: str, *, utf8: bool) -> bytes:
    """At most one personal, one other users' and one shared namespace (RFC 9051 §7.3.2, RFC 2342)."""
    divider = string(separator.encode("ascii"))
    parts = (b"NIL" if name is None else b"((%b %b))" % (mailbox(name, utf8=utf8), divider) for name in prefixes)
    return b"* NAMESPACE %b\r\n" % b" ".join(parts)


def list_line(
    attributes: Iterable[bytes],
    separator: str | None,
    name: str,
    *,
    utf8: bool,
    command: bytes = b"LIST",
    extended: Sequence[bytes] = (),
) -> bytes:
    r"""LIST or LSUB (RFC 9051 §7.3.1): `attributes` like b"\Noselect"; `extended` items ready made.

    An extended item is `"CHILDINFO" ("SUBSCRIBED")` or `"OLDNAME" ("x")`.
    """
    tail = b" (%b)" % b" ".join(extended) if extended else b""
    delimiter = b"NIL" if separator is None else string(separator.encode("ascii"))
    return b"* %b (%b) %b %b%b\r\n" % (command, b" ".join(attributes), delimiter, mailbox(name, utf8=utf8), tail)


def status(name: str, values: Iterable[tuple[StatusItem, int | str | None]], *, utf8: bool) -> bytes:
    """RFC 9051 §7.3.3; None is NIL (APPENDLIMIT only), text is an object id (RFC 8474 §4.3)."""
    parts = (b"%b %b" % (item.value, _status_value(value)) for item, value in values)
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, utf8=utf8), b" ".join(parts))


def _status_value(value: int | str | None) -> bytes:
    if value is None:
        return b"NIL"
    return b"(%b)" % value.encode("ascii") if isinstance(value, str) else b"%d" % value


def metadata_changed(name: str, entries: Iterable[str], *, utf8: bool) -> bytes:
    """METADATA with names of entries only (RFC 5464 §4.4.2); `name` is empty for the server's."""
    words = b" ".join(astring(entry.encode()) for entry in entries)
    return b"* METADATA %b %b\r\n" % (mailbox(name, utf8=utf8), words)


def acl(name: str, entries: Iterable[tuple[str, Rights]], *, utf8: bool) -> bytes:
    """RFC 4314 §3.6."""
    words = (astring(word.encode()) for who, rights in entries for word in (who, render_rights(rights)))
    return b"* ACL %b\r\n" % b" ".join((mailbox(name, utf8=utf8), *words))


def list_rights(name: str, identifier: str, always: str, possible: Iterable[str], *, utf8: bool) -> bytes:
    """RFC 4314 §3.7: the rights that an identifier always has, and groups of those that it can be given."""
    words = (astring(word.encode()) for word in (identifier, always, *possible))
    return b"* LISTRIGHTS %b\r\n" % b" ".join((mailbox(name, utf8=utf8), *words))


def my_rights(name: str, rights: Rights, *, utf8: bool) -> bytes:
    """RFC 4314 §3.8."""
    return b"* MYRIGHTS %b %b\r\n" % (mailbox(name, utf8=utf8), astring(render_rights(rights).encode("ascii")))


def search(numbers: Sequence[int], modseq: int | None = None) -> bytes:
    """IMAP4rev1's SEARCH (RFC 3501 §7.2.5); `modseq` as RFC 7162 §3.1.5, which no match has."""
    if not numbers:
        return b"* SEARCH\r\n"
    tail = b"" if modseq is None else b" (MODSEQ %d)" % modseq
    # One pattern for all of them: thousands of numbers become octets in one call of C.
    return b"* SEARCH" + b" %d" * len(numbers) % tuple(numbers) + tail + b"\r\n"


def sort(numbers: Sequence[int], modseq: int | None = None) -> bytes:
    """RFC 5256 §4; `modseq` as RFC 7162 §3.1.9."""
    return b"* SORT" + search(numbers, modseq)[len(b"* SEARCH") :]


def ordered_set(numbers: Sequence[int]) -> bytes:
    """A sequence-set that keeps the order of the numbers: ranges only where they go up (RFC 5267 §3.2)."""
    out: list[str] = []
    start = last = -1
    for number in numbers:
        if number == last + 1 and start > 0:
            last = number
            continue
        if start > 0:
            out.append(str(start) if start == last else f"{start}:{last}")
        start = last = number
    if start > 0:
        out.append(str(start) if start == last else f"{start}:{last}")
    return ",".join(out).encode("ascii")


def esearch(
    tag: bytes,
    *,
    uid: bool,
    mailbox_name: tuple[str, int] | None = None,
    utf8: bool = False,
    minimum: int | None = None,
    maximum: int | None = None,
    all_found: Sequence[int] = (),
    partial: tuple[PartialRange, Sequence[int]] | None = None,
    count: int | None = None,
    modseq: int | None = None,
    relevancy: Sequence[int] | None = None,
) -> bytes:
    """RFC 9051 §7.3.4; what is None, and ALL of nothing, is left out as §6.4.4 wants it."""
    about = b""
    if mailbox_name is not None:
        # RFC 7377 §2.1
        name, uid_validity = mailbox_name
        about = b" MAILBOX %b UIDVALIDITY %d" % (mailbox(name, utf8=utf8), uid_validity)
    parts = [b"* ESEARCH (TAG %b%b)" % (string(tag), about)]
    if uid:
        parts.append(b"UID")
    named = ((b"MIN", minimum), (b"MAX", maximum))
    parts.extend(b"%b %d" % (name, value) for name, value in named if value is not None)
    if all_found:
        parts.append(b"ALL " + ordered_set(all_found))
    if partial is not None:
        # RFC 9394 §3.1: the range as it was asked for.
        asked, numbers = partial
        parts.append(b"PARTIAL (%b %b)" % (str(asked).encode("ascii"), ordered_set(numbers) or b"NIL"))
    if relevancy is not None:
        # RFC 6203 §4
        parts.append(b"RELEVANCY (%b)" % " ".join(map(str, relevancy)).encode("ascii"))
    named = ((b"COUNT", count), (b"MODSEQ", modseq))
    parts.extend(b"%b %d" % (name, value) for name, value in named if value is not None)
    return b" ".join(parts) + b"\r\n"


def context_update(
    tag: bytes, parts: Iterable[tuple[bytes, Sequence[tuple[int, Sequence[int]]]]], *, uid: bool
) -> bytes:
    """RFC 5267 §4.3.2: ADDTO and REMOVEFROM, each with positions and numbers; those without any are left out."""
    out = [b"* ESEARCH (TAG %b)%b" % (string(tag), b" UID" if uid else b"")]
    for name, places in parts:
        if places:
            pairs = (b"%d %b" % (place, ordered_set(numbers)) for place, numbers in places)
            out.append(b"%b (%b)" % (name, b" ".join(pairs)))
    return b" ".join(out) + b"\r\n"


def quota(root: str, resources: Iterable[tuple[str, int, int]]) -> bytes:
    """RFC 9208 §4.2.1: name, usage, limit of each resource that has a limit."""
    parts = (f"{name} {usage} {limit}".encode("ascii") for name, usage, limit in resources)
    return b"* QUOTA %b (%b)\r\n" % (string(root.encode()), b" ".join(parts))


def quota_root(name: str, roots: Iterable[str], *, utf8: bool) -> bytes:
    """RFC 9208 §4.2.2."""
    return b" ".join((b"* QUOTAROOT", mailbox(name, utf8=utf8), *(string(root.encode()) for root in roots))) + b"\r\n"


def metadata(name: str, values: Iterable[tuple[str, bytes | None]], *, utf8: bool) -> bytes:
    """RFC 5464 §4.4.1: entries and their values, None where there is none."""
    parts = (b"%b %b" % (astring(entry.encode("ascii")), _octets(value)) for entry, value in values)
    return b"* METADATA %b (%b)\r\n" % (mailbox(name, utf8=utf8), b" ".join(parts))


def _octets(value: bytes | None) -> bytes:
    """A string, or a literal8 (RFC 3516 §4) for what no string can hold."""
    if value is not None and b"\0" in value:
        return b"~{%d}\r\n%b" % (len(value), value)
    return nstring(value)


# Message data


def vanished(uids: NumSet, *, earlier: bool = False) -> bytes:
    """RFC 7162 §3.2.10; nothing at all for an empty set."""
    if not uids:
        return b""
    return (b"* VANISHED (EARLIER) %b\r\n" if earlier else b"* VANISHED %b\r\n") % uids.encode()
