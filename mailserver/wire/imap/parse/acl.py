"""Parsers of the commands of RFC 4314."""

from __future__ import annotations

from mailserver.model.errors import InvalidInput
from mailserver.model.rights import RightsChange, parse_identifier, parse_rights
from mailserver.wire.imap.commands import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from mailserver.wire.imap.lexer import Lexer, ParseError

__all__ = ["delete_acl", "get_acl", "list_rights", "my_rights", "set_acl"]


def set_acl(lexer: Lexer) -> SetAcl:
    """RFC 4314 §3.1; a right or identifier that is not known is BAD."""
    mailbox, identifier, _ = _named(lexer)
    lexer.space()
    text = lexer.text()
    how = next((how for how in (RightsChange.ADD, RightsChange.REMOVE) if text.startswith(how.value)), None)
    try:
        rights = parse_rights(text[1:] if how is not None else text)
    except InvalidInput as error:
        raise ParseError(error.text) from None
    return SetAcl(mailbox, identifier, how or RightsChange.REPLACE, rights)


def delete_acl(lexer: Lexer) -> DeleteAcl:
    """RFC 4314 §3.2."""
    mailbox, identifier, _ = _named(lexer)
    return DeleteAcl(mailbox, identifier)


def get_acl(lexer: Lexer) -> GetAcl:
    """RFC 4314 §3.3."""
    return GetAcl(_mailbox(lexer))


def list_rights(lexer: Lexer) -> ListRights:
    """RFC 4314 §3.4."""
    return ListRights(*_named(lexer))


def my_rights(lexer: Lexer) -> MyRights:
    """RFC 4314 §3.5."""
    return MyRights(_mailbox(lexer))


def _mailbox(lexer: Lexer) -> str:
    lexer.space()
    return lexer.mailbox()


def _named(lexer: Lexer) -> tuple[str, str, str]:
    """Mailbox; identifier in its one spelling, and as it was typed."""
    mailbox = _mailbox(lexer)
    lexer.space()
    typed = lexer.text()
    try:
        return mailbox, parse_identifier(typed), typed
    except InvalidInput as error:
        raise ParseError(error.text) from None
