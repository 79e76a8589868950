"""Stage two: a complete command becomes a value. `PARSERS` is the list of all commands but APPEND, which streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from mailserver.wire.imap.commands import (
    Capability,
    Check,
    Close,
    Expunge,
    GetJmapAccess,
    Idle,
    Logout,
    Namespace,
    Noop,
    StartTls,
    Unauthenticate,
    Unselect,
)
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse import (
    acl,
    fetch,
    mailboxes,
    messages,
    metadata,
    multisearch,
    notify,
    search,
    session,
    sort,
    urlauth,
)

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
    b"ID": session.identification,
    b"AUTHENTICATE": session.authenticate,
    b"LOGIN": session.login,
    b"COMPRESS": session.compress,
    b"ENABLE": session.enable,
    b"GETQUOTA": session.get_quota,
    b"GETQUOTAROOT": session.get_quota_root,
    b"SETQUOTA": session.set_quota,
    b"LANGUAGE": session.language,
    b"COMPARATOR": session.comparator,
    b"NOTIFY": notify.notify,
    b"SELECT": mailboxes.select,
    b"EXAMINE": mailboxes.examine,
    b"CREATE": mailboxes.create,
    b"DELETE": mailboxes.delete,
    b"RENAME": mailboxes.rename,
    b"SUBSCRIBE": mailboxes.subscribe,
    b"UNSUBSCRIBE": mailboxes.unsubscribe,
    b"LIST": mailboxes.list_mailboxes,
    b"LSUB": mailboxes.lsub,
    b"STATUS": mailboxes.status,
    b"SETACL": acl.set_acl,
    b"DELETEACL": acl.delete_acl,
    b"GETACL": acl.get_acl,
    b"LISTRIGHTS": acl.list_rights,
    b"MYRIGHTS": acl.my_rights,
    b"RESETKEY": urlauth.reset_key,
    b"GENURLAUTH": urlauth.gen_url_auth,
    b"URLFETCH": urlauth.url_fetch,
    b"GETMETADATA": metadata.get_metadata,
    b"SETMETADATA": metadata.set_metadata,
    b"SEARCH": search.search,
    b"UID SEARCH": search.uid_search,
    b"SORT": sort.sort,
    b"UID SORT": sort.uid_sort,
    b"ESEARCH": multisearch.esearch,
    b"CANCELUPDATE": sort.cancel_update,
    b"THREAD": sort.thread,
    b"UID THREAD": sort.uid_thread,
    b"FETCH": fetch.fetch,
    b"UID FETCH": fetch.uid_fetch,
    b"STORE": messages.store,
    b"UID STORE": messages.uid_store,
    b"COPY": messages.copy,
    b"UID COPY": messages.uid_copy,
    b"MOVE": messages.move,
    b"UID MOVE": messages.uid_move,
    b"UID EXPUNGE": messages.uid_expunge,
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
