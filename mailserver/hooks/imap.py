"""An IMAP command that a plugin brings, in words that need nothing of the IMAP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from mailserver.hooks.contexts import Session
from mailserver.model.ids import AccountId
from mailserver.ports.store import AccountStore

__all__ = ["Argument", "ImapCommand", "ImapContext", "ImapReply"]

#: An atom, a string or a literal as text (octets that are no UTF-8 become U+FFFD); a parenthesised list as a tuple.
Argument = str | tuple["Argument", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapContext:
    """One call of a plugin's command. `account` and `mail` are None before login; `selected` is the mailbox's name in
    the store, None if none is selected."""

    session: Session
    arguments: tuple[Argument, ...]
    account: AccountId | None = None
    mail: AccountStore | None = None
    selected: str | None = None


@dataclass(frozen=True, slots=True)
class ImapReply:
    """The tagged response: `status` is OK, NO or BAD; `code` stands in brackets (RFC 9051 §7.1)."""

    status: str
    text: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapCommand:
    """`run` gives whole untagged responses, CRLF included, then at most one ImapReply; without one it is OK.

    `before_login`: it may be given before login as well as after.
    """

    run: Callable[[ImapContext], AsyncIterator[bytes | ImapReply]]
    before_login: bool = False
