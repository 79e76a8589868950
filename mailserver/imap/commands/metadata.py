"""GETMETADATA and SETMETADATA (RFC 5464; special uses: RFC 6154 §4; for LIST: RFC 9590).

The server's own shared entries are the operator's (settings); its private ones belong to the account. Private entries
of a mailbox are its owner's: nobody else can set them there (NOPRIVATE), or sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mailserver.imap.access.reach import Access
from mailserver.imap.commands.create import VIRTUAL
from mailserver.imap.replies import Completion, Responses, no, ok
from mailserver.imap.search.filters import VALUES
from mailserver.imap.session import Session
from mailserver.model.changes import MetadataChanged
from mailserver.model.errors import NotPermitted
from mailserver.model.mailbox import INBOX, SpecialUse
from mailserver.model.metadata import MAX_VALUE, SPECIAL_USE, Annotations, TooManyEntries, is_private
from mailserver.model.rights import Right
from mailserver.wire.imap import responses
from mailserver.wire.imap.commands import GetMetadata, SetMetadata
from mailserver.wire.imap.lexer import ParseError
from mailserver.wire.imap.parse.search import criteria

__all__ = ["get_metadata", "metadata_response", "set_metadata"]

#: RFC 5464 §3.3: one of these is needed beside `l`.
_ANY = frozenset({Right.READ, Right.SEEN, Right.WRITE, Right.INSERT, Right.POST})
_USES = {use.value.lower(): use for use in SpecialUse}
_NOT_YOURS = no("private entries are kept for the owner of a mailbox only", "METADATA NOPRIVATE")


async def get_metadata(session: Session, command: GetMetadata) -> Responses:
    """The values that are asked for; NIL for an entry that was named and is not there."""
    if command.mailbox:
        access = await session.access(command.mailbox, Right.LOOKUP)
        _check(access)
        kept = await _of_mailbox(session, access)
    else:
        kept = await _of_server(session)
    shown, longest = _choose(kept, command)
    if shown:
        yield responses.metadata(command.mailbox, shown, utf8=session.utf8)
    yield ok("GETMETADATA completed", f"METADATA LONGENTRIES {longest}" if longest else "")


async def metadata_response(session: Session, access: Access, shown_name: str, entries: Sequence[str]) -> bytes:
    """What LIST tells of a mailbox (RFC 9590 §3); nothing where this user may not ask. Raises NotFound."""
    if not access.rights & _ANY:
        return b""
    kept = await _of_mailbox(session, access)
    return responses.metadata(shown_name, [(name, kept.get(name.lower())) for name in entries], utf8=session.utf8)


async def set_metadata(session: Session, command: SetMetadata) -> Responses:
    """Set all of the values, or none."""
    values = command.values
    if any(len(value or b"") > MAX_VALUE for value in values.values()):
        yield no(f"the value of an entry has at most {MAX_VALUE} octets", f"METADATA MAXSIZE {MAX_VALUE}")
        return
    try:
        if command.mailbox:
            refused = await _set_on_mailbox(session, await session.access(command.mailbox, Right.LOOKUP), values)
        else:
            refused = await _set_on_server(session, values)
    except TooManyEntries as error:
        refused = no(error.text, "METADATA TOOMANY")
    yield refused or ok("SETMETADATA completed")


def _check(access: Access) -> None:
    if not access.rights & _ANY:
        raise NotPermitted("you may not use the annotations of this mailbox")


async def _of_mailbox(session: Session, access: Access) -> Annotations:
    """What this user sees of a mailbox."""
    kept = dict(await access.folders.annotations(access.name))
    if access.account != session.owner:
        return {entry: value for entry, value in kept.items() if not is_private(entry)}
    uses = (await access.folders.find(access.name)).special_use
    if uses:
        kept[SPECIAL_USE] = " ".join(sorted(use.value for use in uses)).encode("ascii")
    return kept


async def _of_server(session: Session) -> Annotations:
    settings = session.services.settings
    shared = {"/shared/comment": settings.server_comment, "/shared/admin": settings.server_admin}
    return {
        **await session.folders.annotations(None),
        **{entry: text.encode() for entry, text in shared.items() if text},
    }


def _choose(kept: Annotations, command: GetMetadata) -> tuple[list[tuple[str, bytes | None]], int]:
    """Entries with their values, and the size of the largest that MAXSIZE leaves out (RFC 5464 §4.2.1, §4.2.2)."""
    found: dict[str, tuple[str, bytes | None]] = {}
    longest = 0
    for asked in command.entries:
        root = asked.lower()
        for name in (root, *_below(kept, root, command.depth)):
            value = kept.get(name)
            if command.max_size is not None and len(value or b"") > command.max_size:
                longest = max(longest, len(value or b""))
            elif value is not None or not command.depth:
                found.setdefault(name, (asked if name == root else name, value))
    if not found and not longest:
        # One METADATA response there must be.
        return [(asked, None) for asked in command.entries], 0
    return list(found.values()), longest


def _below(kept: Annotations, root: str, depth: int) -> Iterable[str]:
    above = root + "/"
    return (name for name in sorted(kept) if name.startswith(above) and name.count("/", len(above)) < depth)


async def _set_on_server(session: Session, values: Mapping[str, bytes | None]) -> Completion | None:
    session.causing = {MetadataChanged("", tuple(values))}
    for entry, value in values.items():
        if entry.startswith(VALUES) and value is not None:
            try:
                criteria(value)
            except ParseError as error:
                # RFC 5466 §3.2
                return no(f"the value of a filter is a search: {error.text}", "CANNOT")
    if not all(map(is_private, values)):
        return no("the shared entries of the server are the administrator's", "NOPERM")
    await session.folders.annotate(None, values)
    return None


async def _set_on_mailbox(
    session: Session, access: Access, values: Mapping[str, bytes | None]
) -> Completion | None:
    _check(access)
    if access.account != session.owner and any(map(is_private, values)):
        return _NOT_YOURS
    if Right.WRITE not in access.rights:
        return no("you lack rights on this mailbox: w", "NOPERM")
    uses: frozenset[SpecialUse] | None = None
    if SPECIAL_USE in values:
        uses = _special_uses(access.name, values[SPECIAL_USE])
        if uses is None:
            return no("this mailbox cannot have that special use", "USEATTR")
    others = {entry: value for entry, value in values.items() if entry != SPECIAL_USE}
    session.causing = {MetadataChanged(access.name, tuple(others)), MetadataChanged(access.name, (SPECIAL_USE,))}
    if others:
        await access.folders.annotate(access.name, others)
    if uses is not None:
        await access.folders.set_special_use(access.name, uses)
    return None


def _special_uses(mailbox: str, value: bytes | None) -> frozenset[SpecialUse] | None:
    """The special uses that a value names; None: they cannot be (RFC 6154 §4)."""
    words = (value or b"").decode("utf-8", "replace").lower().split()
    uses = frozenset(_USES[word] for word in words if word in _USES)
    if len(uses) != len(set(words)) or uses & VIRTUAL or (uses and mailbox == INBOX):
        return None
    return uses
