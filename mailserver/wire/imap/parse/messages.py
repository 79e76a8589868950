"""Parsers of the other commands about messages: STORE, COPY, MOVE, EXPUNGE."""

from __future__ import annotations

from typing import Final

from mailserver.model.flags import FlagChange
from mailserver.wire.imap.commands import Copy, Expunge, Move, Store
from mailserver.wire.imap.lexer import Lexer, ParseError

__all__ = ["copy", "move", "store", "uid_copy", "uid_expunge", "uid_move", "uid_store"]

_HOW: Final = {
    how.value.encode() + suffix: (how, bool(suffix)) for how in FlagChange for suffix in (b"", b".SILENT")
}


def store(lexer: Lexer) -> Store:
    """STORE (RFC 9051 §6.4.6)."""
    return _store(lexer, uid=False)


def uid_store(lexer: Lexer) -> Store:
    """UID STORE."""
    return _store(lexer, uid=True)


def _store(lexer: Lexer, *, uid: bool) -> Store:
    lexer.space()
    messages = lexer.message_set()
    lexer.space()
    unchanged_since: int | None = None
    if lexer.skip(b"("):
        # RFC 7162 §3.1.3
        if lexer.word("UNCHANGEDSINCE") != b"UNCHANGEDSINCE":
            raise ParseError("STORE knows the modifier UNCHANGEDSINCE only")
        lexer.space()
        unchanged_since = lexer.number64()
        lexer.expect(b")")
        lexer.space()
    how = _HOW.get(lexer.word("FLAGS"))
    if how is None:
        raise ParseError("STORE changes FLAGS, +FLAGS or -FLAGS, each with or without .SILENT")
    lexer.space()
    if lexer.data.startswith(b"(", lexer.at):
        flags = lexer.flags()
    else:
        bare = [lexer.flag()]
        while lexer.skip(b" "):
            bare.append(lexer.flag())
        flags = frozenset(bare)
    return Store(
        messages=messages, how=how[0], flags=flags, silent=how[1], uid=uid, unchanged_since=unchanged_since
    )


def copy(lexer: Lexer) -> Copy:
    """COPY (RFC 9051 §6.4.7)."""
    return _copy(lexer, uid=False)


def uid_copy(lexer: Lexer) -> Copy:
    """UID COPY."""
    return _copy(lexer, uid=True)


def _copy(lexer: Lexer, *, uid: bool) -> Copy:
    lexer.space()
    messages = lexer.message_set()
    lexer.space()
    return Copy(messages=messages, mailbox=lexer.mailbox(), uid=uid)


def move(lexer: Lexer) -> Move:
    """MOVE (RFC 9051 §6.4.8)."""
    copied = copy(lexer)
    return Move(messages=copied.messages, mailbox=copied.mailbox)


def uid_move(lexer: Lexer) -> Move:
    """UID MOVE."""
    copied = copy(lexer)
    return Move(messages=copied.messages, mailbox=copied.mailbox, uid=True)


def uid_expunge(lexer: Lexer) -> Expunge:
    """UID EXPUNGE (RFC 9051 §6.4.9)."""
    lexer.space()
    return Expunge(lexer.message_set())
