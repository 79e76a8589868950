"""What APPEND says before each of its messages (RFC 9051 §6.3.12, RFC 3502, RFC 6855 §4). The messages are streamed."""

from __future__ import annotations

from mailserver.model.errors import InvalidInput
from mailserver.wire.imap.dates import parse_date_time
from mailserver.wire.imap.events import AppendMessage
from mailserver.wire.imap.fragments import HangUp, LiteralHeader
from mailserver.wire.imap.lexer import Lexer, ParseError

__all__ = ["append_mailbox", "append_message"]


def append_mailbox(lexer: Lexer) -> str:
    """The mailbox, behind the command's name."""
    lexer.space()
    return lexer.mailbox()


def append_message(lexer: Lexer, header: LiteralHeader, most: int) -> AppendMessage:
    """Flags and date up to where the literal stands, and the literal itself; a message has at most `most` octets.

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
    utf8 = lexer.peek_word() == b"UTF8"
    if utf8:
        lexer.at += 4
        lexer.expect(b" (")
    if not lexer.at_end:
        lexer.fail("flags, a date or the message as a literal")
    if utf8 and not header.binary:
        raise ParseError("the message in UTF8 (...) is a literal8: ~{count}")
    if header.size == 0:
        # RFC 3502 §6.3.11
        raise ParseError("a message of no octets cannot be appended", status="NO")
    if header.size > most:
        text = f"a message has at most {most} octets"
        if not header.synchronizing:
            raise HangUp(text)
        raise ParseError(text, status="NO", code="TOOBIG")
    return AppendMessage(
        flags=flags, date=date, size=header.size, binary=header.binary, utf8=utf8, synchronizing=header.synchronizing
    )
