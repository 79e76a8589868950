"""Stage two: a complete command becomes a value. `PARSERS` is the list of all commands but APPEND, which streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from mailserver.wire.imap import (
    parse_acl,
    parse_fetch,
    parse_mailbox,
    parse_messages,
    parse_metadata,
    parse_multisearch,
    parse_notify,
    parse_search,
    parse_session,
    parse_sort,
    parse_urlauth,
)
from mailserver.wire.imap.commands import (
    Capability,
    Check,
    Close,
    Expunge,
    Idle,
    Logout,
    Namespace,
    Noop,
    StartTls,
    Unselect,
)
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.session_commands import GetJmapAccess, Unauthenticate

__all__ = ["PARSERS", "Parser", "parse_arguments", "parse_head"]

#: Reads a command's arguments from behind its name, the leading space included; the caller checks the end.
Parser = Callable[[Lexer], object]

# RFC 9051 §9 tag: ASTRING-CHAR without "+"; its length is our bound, as is that of a name.
_HEAD = re.compile(rb"([!#$&',./0-9:;<=>?@A-Z\[\]^_`a-z|}~-]{1,128}) ([A-Za-z][A-Za-z0-9.-]{0,31})(?= |\Z)")
_TAG = re.compile(rb"([!#$&',./0-9:;<=>?@A-Z\[\]^_`a-z|}~-]{1,128})(?: |\Z)")
_UID = re.compile(rb" ([A-Za-z]{1,32})(?= |\Z)")

# Commands without arguments are one value each.
_BARE: Final[dict[bytes, object]] = {
    b"CAPABILITY": Capability(),
    b"NOOP": Noop(),
    b"LOGOUT": Logout(),
    b"STARTTLS": StartTls(),
    b"NAMESPACE": Namespace(),
    b"IDLE": Idle(),
    b"CHECK": Check(),
    b"CLOSE": Close(),
    b"UNSELECT": Unselect(),
    b"EXPUNGE": Expunge(),
    b"GETJMAPACCESS": GetJmapAccess(),
    b"UNAUTHENTICATE": Unauthenticate(),
}


def _bare(command: object) -> Parser:
    return lambda lexer: command


PARSERS: Final[Mapping[bytes, Parser]] = {
    **{name: _bare(command) for name, command in _BARE.items()},
    b"ID": parse_session.identification,
    b"AUTHENTICATE": parse_session.authenticate,
    b"LOGIN": parse_session.login,
    b"COMPRESS": parse_session.compress,
    b"ENABLE": parse_session.enable,
    b"GETQUOTA": parse_session.get_quota,
    b"GETQUOTAROOT": parse_session.get_quota_root,
    b"SETQUOTA": parse_session.set_quota,
    b"LANGUAGE": parse_session.language,
    b"NOTIFY": parse_notify.notify,
    b"SELECT": parse_mailbox.select,
    b"EXAMINE": parse_mailbox.examine,
    b"CREATE": parse_mailbox.create,
    b"DELETE": parse_mailbox.delete,
    b"RENAME": parse_mailbox.rename,
    b"SUBSCRIBE": parse_mailbox.subscribe,
    b"UNSUBSCRIBE": parse_mailbox.unsubscribe,
    b"LIST": parse_mailbox.list_mailboxes,
    b"LSUB": parse_mailbox.lsub,
    b"STATUS": parse_mailbox.status,
    b"SETACL": parse_acl.set_acl,
    b"DELETEACL": parse_acl.delete_acl,
    b"GETACL": parse_acl.get_acl,
    b"LISTRIGHTS": parse_acl.list_rights,
    b"MYRIGHTS": parse_acl.my_rights,
    b"RESETKEY": parse_urlauth.reset_key,
    b"GENURLAUTH": parse_urlauth.gen_url_auth,
    b"URLFETCH": parse_urlauth.url_fetch,
    b"GETMETADATA": parse_metadata.get_metadata,
    b"SETMETADATA": parse_metadata.set_metadata,
    b"SEARCH": parse_search.search,
    b"UID SEARCH": parse_search.uid_search,
    b"SORT": parse_sort.sort,
    b"UID SORT": parse_sort.uid_sort,
    b"ESEARCH": parse_multisearch.esearch,
    b"CANCELUPDATE": parse_sort.cancel_update,
    b"THREAD": parse_sort.thread,
    b"UID THREAD": parse_sort.uid_thread,
    b"FETCH": parse_fetch.fetch,
    b"UID FETCH": parse_fetch.uid_fetch,
    b"STORE": parse_messages.store,
    b"UID STORE": parse_messages.uid_store,
    b"COPY": parse_messages.copy,
    b"UID COPY": parse_messages.uid_copy,
    b"MOVE": parse_messages.move,
    b"UID MOVE": parse_messages.uid_move,
    b"UID EXPUNGE": parse_messages.uid_expunge,
}


def parse_head(line: bytes) -> tuple[bytes, bytes, int]:
    """Tag, name in capitals (`UID FETCH`) and where the arguments begin. An empty tag: there is none that can be used.

    An empty name: what follows the tag is no name.
    """
    found = _HEAD.match(line)
    if found is None:
        tagged = _TAG.match(line)
        return (tagged[1] if tagged else b""), b"", 0
    tag, name = found.groups()
    name = name.upper()
    if name == b"UID":
        second = _UID.match(line, found.end())
        if second is not None:
            return tag, b"UID " + second[1].upper(), second.end()
    return tag, name, found.end()


def parse_arguments(parser: Parser, data: bytes, at: int, *, utf8: bool) -> object:
    """The command's value.

    Raises:
        ParseError: with what to answer.
    """
    lexer = Lexer(data, at, utf8=utf8)
    command = parser(lexer)
    if lexer.at != len(data):
        if lexer.data[lexer.at :].isspace():
            raise ParseError("nothing follows the last argument, not even a space")
        lexer.fail("the end of the command")
    return command
