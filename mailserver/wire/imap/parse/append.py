"""What APPEND and REPLACE say before each message (RFC 9051 §6.3.12, RFC 3502, RFC 6855 §4, RFC 8508 §3).

The messages are streamed.
"""

from __future__ import annotations

import re
from typing import Final

from mailserver.model.errors import InvalidInput
from mailserver.model.numset import MAX_NUMBER
from mailserver.wire.imap.dates import parse_date_time
from mailserver.wire.imap.events import AppendMessage, AppendStarted
from mailserver.wire.imap.fragments import LiteralHeader
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse.catenate import too_big
from mailserver.wire.imap.sequence_set import SequenceSet

__all__ = ["STREAMED", "append_message", "append_started", "names_mailbox"]

#: The commands whose messages are streamed, with what stands before the name of their mailbox.
STREAMED: Final = {
    b"APPEND": re.compile(rb" "),
    b"REPLACE": re.compile(rb" (?:[0-9]{1,10}|\*) "),
    b"UID REPLACE": re.compile(rb" (?:[0-9]{1,10}|\*) "),
}


def names_mailbox(command: bytes, before: bytes) -> bool:
    """Whether the first literal of such a command is the name of its mailbox: by what stands before it."""
    return STREAMED[command].fullmatch(before) is not None


def append_started(tag: bytes, command: bytes, lexer: Lexer, header: LiteralHeader | None, most: int) -> AppendStarted:
    """Such a command up to its first message, which has at most `most` octets. Raises as `append_message`."""
    replaces = None if command == b"APPEND" else _replaced(lexer)
    lexer.space()
    mailbox = lexer.mailbox()
    name = command.decode("ascii")
    message = append_message(lexer, header, most)
    return AppendStarted(tag, mailbox, message, command=name, replaces=replaces, uid=name.startswith("UID "))


def _replaced(lexer: Lexer) -> SequenceSet:
    """The one message that REPLACE takes away (RFC 8508 §5)."""
    lexer.space()
    found = lexer.message_set()
    if isinstance(found, SequenceSet) and (found.star_from, len(found.numbers)) in ((None, 1), (MAX_NUMBER, 0)):
        return found
    raise ParseError("REPLACE takes away one message, by its number or *")


def append_message(lexer: Lexer, header: LiteralHeader | None, most: int) -> AppendMessage:
    """Flags and date up to where the literal stands, and the literal itself; a message has at most `most` octets.

    Of a message that is put together (CATENATE), all up to its first part.

    Raises:
        ParseError: with what to answer.
        HangUp: the message is too big and its client does not wait.
    """
    flags: frozenset[str] = frozenset()
    date: int | None = None
    lexer.space()
    if lexer.data.startswith(b"(", lexer.at):
        flags = lexer.flags()
        lexer.space()
    if lexer.data.startswith(b'"', lexer.at):
        try:
            date = parse_date_time(lexer.quoted())
        except InvalidInput as error:
            raise ParseError(error.text) from None
        lexer.space()
    word = lexer.peek_word()
    if word == b"CATENATE":
        lexer.at += 8
        lexer.expect(b" (")
        return AppendMessage(flags=flags, date=date, size=0, synchronizing=False, catenate=True)
    utf8 = word == b"UTF8"
    if utf8:
        lexer.at += 4
        lexer.expect(b" (")
    if not lexer.at_end or header is None:
        lexer.fail("flags, a date or the message as a literal")
    if utf8 and not header.binary:
        raise ParseError("the message in UTF8 (...) is a literal8: ~{count}")
    if header.size == 0:
        # RFC 3502 §6.3.11
        raise ParseError("a message of no octets cannot be appended", status="NO")
    too_big(header, most)
    return AppendMessage(
        flags=flags, date=date, size=header.size, binary=header.binary, utf8=utf8, synchronizing=header.synchronizing
    )
