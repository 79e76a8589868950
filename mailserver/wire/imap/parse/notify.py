"""The parser of NOTIFY (RFC 5465 §8)."""

from __future__ import annotations

from typing import Final

from mailserver.wire.imap.commands import MESSAGE_EVENTS, EventGroup, Notify, NotifyEvent, Watched
from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse.fetch import fetch_items

__all__ = ["notify"]

_MAX_GROUPS: Final = 100
_MAX_NAMES: Final = 1_000
_WATCHED: Final = {watched.value: watched for watched in Watched}
_EVENTS: Final = {event.value.upper(): event for event in NotifyEvent}
_SELECTED: Final = (Watched.SELECTED, Watched.SELECTED_DELAYED)


def notify(lexer: Lexer) -> Notify:
    """`SET [STATUS] (group) (group) …` or `NONE`."""
    lexer.space()
    word = lexer.word("SET or NONE")
    if word == b"NONE":
        return Notify()
    if word != b"SET":
        raise ParseError("NOTIFY takes SET or NONE")
    lexer.space()
    status = lexer.peek_word() == b"STATUS"
    if status:
        lexer.at += 6
        lexer.space()
    groups, unknown = list[EventGroup](), False
    while True:
        group, strange = _group(lexer)
        groups.append(group)
        unknown |= strange
        if len(groups) > _MAX_GROUPS:
            raise ParseError(f"NOTIFY takes at most {_MAX_GROUPS} groups", status="NO", code="NOTIFICATIONOVERFLOW")
        if not lexer.skip(b" "):
            break
    if sum(group.watched in _SELECTED for group in groups) > 1:
        # RFC 5465 §6.1
        raise ParseError("NOTIFY takes SELECTED or SELECTED-DELAYED, and once")
    if sum(len(group.names) for group in groups) > _MAX_NAMES:
        raise ParseError(f"NOTIFY takes at most {_MAX_NAMES} names", status="NO", code="NOTIFICATIONOVERFLOW")
    return Notify(status=status, groups=tuple(groups), unknown=unknown)


def _group(lexer: Lexer) -> tuple[EventGroup, bool]:
    lexer.expect(b"(")
    watched = _WATCHED.get(lexer.word("which mailboxes"))
    if watched is None:
        raise ParseError(f"NOTIFY watches {', '.join(one.decode('ascii') for one in _WATCHED)}")
    names: list[str] = []
    if watched in (Watched.SUBTREE, Watched.MAILBOXES):
        lexer.space()
        several = lexer.data.startswith(b"(", lexer.at)
        names = lexer.items(lexer.mailbox, _MAX_NAMES) if several else [lexer.mailbox()]
    lexer.space()
    events, fetch, unknown = _events(lexer)
    lexer.expect(b")")
    if watched in _SELECTED and not events <= MESSAGE_EVENTS:
        raise ParseError("SELECTED takes MessageNew, MessageExpunge and FlagChange only")
    if fetch and watched not in _SELECTED:
        raise ParseError("MessageNew takes FETCH items for SELECTED and SELECTED-DELAYED only")
    return EventGroup(watched=watched, names=tuple(names), events=events, fetch=fetch), unknown


def _events(lexer: Lexer) -> tuple[frozenset[NotifyEvent], tuple[FetchItem, ...], bool]:
    fetch: tuple[FetchItem, ...] = ()
    unknown = False
    if lexer.peek_word() == b"NONE":
        lexer.at += 4
        return frozenset(), fetch, unknown

    def event() -> NotifyEvent | None:
        nonlocal fetch, unknown
        known = _EVENTS.get(lexer.atom().upper())
        if known is NotifyEvent.MESSAGE_NEW and lexer.data.startswith(b" (", lexer.at):
            lexer.space()
            fetch = fetch_items(lexer)
        unknown |= known is None
        return known

    found = frozenset(one for one in lexer.items(event, 20) if one is not None)
    told = found & MESSAGE_EVENTS
    # RFC 5465 §5: new and expunged messages go together, and changed flags go with them.
    if told and not unknown and not told >= {NotifyEvent.MESSAGE_NEW, NotifyEvent.MESSAGE_EXPUNGE}:
        raise ParseError("MessageNew, MessageExpunge and FlagChange need MessageNew and MessageExpunge")
    return found, fetch, unknown
