"""LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154, RFC 9590)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mailserver.imap.access.layout import parents
from mailserver.imap.access.patterns import pattern_matcher
from mailserver.imap.access.reach import Access
from mailserver.imap.commands.metadata import metadata_response
from mailserver.imap.commands.status import status_response
from mailserver.imap.replies import Responses
from mailserver.imap.session import Session
from mailserver.imap.slices import Turn
from mailserver.model.errors import NotFound
from mailserver.model.mailbox import INBOX, SEPARATOR, MailboxInfo
from mailserver.model.rights import ALL_RIGHTS, Right
from mailserver.wire.imap import commands
from mailserver.wire.imap.commands import ListReturn, ListSelect, StatusItem
from mailserver.wire.imap.responses import list_line, my_rights

__all__ = ["list_mailboxes", "lsub"]

#: The options that select names, as CHILDINFO has them.
_CHILDINFO = {ListSelect.SUBSCRIBED: b'"SUBSCRIBED"', ListSelect.SPECIAL_USE: b'"SPECIAL-USE"'}


@dataclass(slots=True)
class _Name:
    """A name that may be listed, by the store's name or a foreign path; `info` is None if only a subscription holds it.

    `access` is None where there is no mailbox.
    """

    name: str
    shown: str
    info: MailboxInfo | None
    subscribed: bool
    access: Access | None = None
    has_children: bool = False
    subscribed_below: bool = False
    #: Beneath it there is a name that the selection options want; and one that no pattern matches.
    wanted_below: bool = False
    hidden_below: bool = False

    @property
    def special(self) -> bool:
        return self.info is not None and bool(self.info.special_use)


async def list_mailboxes(session: Session, command: commands.List) -> Responses:
    """The names that match, each with its attributes, and its STATUS where that was asked for."""
    layout = session.services.layout
    if not command.extended and command.patterns == ("",):
        # §6.3.9.1: an empty pattern asks for the separator and the root of the reference.
        yield list_line((b"\\Noselect",), layout.separator, "", utf8=session.utf8)
        return
    patterns = [command.reference + pattern for pattern in command.patterns if pattern]
    matches = [pattern_matcher(pattern, layout.separator) for pattern in patterns]
    if StatusItem.HIGHESTMODSEQ in command.status:
        yield session.enable_condstore()
    names = await _names(session, patterns)
    if ListSelect.RECURSIVEMATCH in command.select:
        _look_below(names, command.select, lambda name: any(match(name) for match in matches))
    for entry in names:
        shown = entry.shown
        wanted = entry.hidden_below or _wanted(entry, command.select)
        if not wanted or not any(match(shown) for match in matches):
            # A piece now and then lets others have their turn while thousands of names are looked at.
            yield b""
            continue
        attributes, below = _attributes(session, entry, command), _child_info(entry, command)
        yield list_line(attributes, layout.separator, shown, utf8=session.utf8, extended=below)
        if entry.access is None or not _wanted(entry, command.select):
            continue
        if ListReturn.MYRIGHTS in command.returns:
            yield my_rights(shown, entry.access.rights, utf8=session.utf8)
        try:
            if command.status and Right.READ in entry.access.rights:
                yield await status_response(session, entry.access, shown, command.status)
            if command.metadata:
                yield await metadata_response(session, entry.access, shown, command.metadata)
        except NotFound:
            yield b""


async def lsub(session: Session, command: commands.Lsub) -> Responses:
    r"""Subscribed names; where `%` stops above one, the name in between as \Noselect (RFC 3501 §6.3.9)."""
    layout = session.services.layout
    if not command.pattern:
        yield list_line((b"\\Noselect",), layout.separator, "", utf8=session.utf8, command=b"LSUB")
        return
    pattern = command.reference + command.pattern
    match = pattern_matcher(pattern, layout.separator)
    above = command.pattern.endswith("%")
    for entry in await _names(session, [pattern]):
        if not (entry.subscribed or (above and entry.subscribed_below)) or not match(entry.shown):
            continue
        attributes = () if entry.subscribed and entry.access is not None else (b"\\Noselect",)
        yield list_line(attributes, layout.separator, entry.shown, utf8=session.utf8, command=b"LSUB")


async def _names(session: Session, patterns: Iterable[str]) -> list[_Name]:
    """Everything that could be listed, sorted, INBOX first."""
    subscriptions = await session.folders.subscriptions()
    space, turn = session.services.namespaces, Turn()
    names: dict[str, _Name] = {}

    def add(name: str, info: MailboxInfo | None, access: Access | None, *, own: bool) -> _Name:
        if name not in names:
            shown = space.layout.to_client(name) if own else space.shown(name)
            names[name] = _Name(name, shown, info, name in subscriptions, access)
        return names[name]

    for info in await session.folders.list_mailboxes():
        access = Access(session.owner, session.folders, info.name, ALL_RIGHTS) if info.selectable else None
        add(info.name, info, access, own=True)
        await turn.pass_on()
    foreign = set[str]()
    if any(space.may_match(pattern) for pattern in patterns):
        async for found in session.reach.shared_with_me():
            # Its special use is its owner's: this user's mail program has a Sent mailbox of its own.
            add(found.path, replace(found.info, special_use=frozenset()), found.access, own=False)
            foreign.add(found.path)
            await turn.pass_on()
    for name in subscriptions:
        add(name, None, None, own=space.parse(name) is None)
    for entry in list(names.values()):
        await turn.pass_on()
        for parent in parents(entry.name, SEPARATOR):
            nothing = MailboxInfo(name=parent, mailbox_id="", selectable=False) if entry.name in foreign else None
            above = add(parent, nothing, None, own=space.parse(entry.name) is None)
            above.info = above.info or nothing
            above.has_children |= entry.info is not None
            above.subscribed_below |= entry.subscribed
    return sorted(names.values(), key=lambda entry: (entry.name != INBOX, entry.name))


def _wanted(entry: _Name, select: frozenset[ListSelect]) -> bool:
    """Whether the selection options want this name (RFC 5258 §3.1, RFC 6154 §2); REMOTE adds nothing here."""
    if not select & _CHILDINFO.keys():
        return entry.info is not None
    return (ListSelect.SUBSCRIBED not in select or entry.subscribed) and (
        ListSelect.SPECIAL_USE not in select or entry.special
    )


def _look_below(names: list[_Name], select: frozenset[ListSelect], matches: Callable[[str], bool]) -> None:
    """RECURSIVEMATCH: what has wanted names beneath it. Those that are listed themselves need no hint (§3.5)."""
    by_name = {entry.name: entry for entry in names}
    for entry in names:
        if not _wanted(entry, select):
            continue
        hidden = not matches(entry.shown)
        for parent in parents(entry.name, SEPARATOR):
            by_name[parent].wanted_below = True
            by_name[parent].hidden_below |= hidden


def _attributes(session: Session, entry: _Name, command: commands.List) -> list[bytes]:
    attributes = []
    if entry.info is None or not entry.info.selectable:
        # RFC 5258 §3: \NonExistent means \Noselect as well; older clients only know the latter.
        attributes += [b"\\NonExistent", b"\\Noselect"]
    attributes.append(b"\\HasChildren" if entry.has_children else b"\\HasNoChildren")
    if entry.subscribed and (ListReturn.SUBSCRIBED in command.returns or ListSelect.SUBSCRIBED in command.select):
        attributes.append(b"\\Subscribed")
    if entry.info is not None and (
        (not command.extended and session.offers("SPECIAL-USE"))
        or ListReturn.SPECIAL_USE in command.returns
        or ListSelect.SPECIAL_USE in command.select
    ):
        attributes += sorted(use.value.encode("ascii") for use in entry.info.special_use)
    return attributes


def _child_info(entry: _Name, command: commands.List) -> list[bytes]:
    if not entry.wanted_below:
        return []
    options = (text for option, text in _CHILDINFO.items() if option in command.select)
    return [b'"CHILDINFO" (%b)' % b" ".join(options)]
