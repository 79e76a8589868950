"""What is announced (RFC 9051 §6.1.1, §7.2.2): computed from the registered commands and what the operator left on.

Before login a client is told only what it may use then; that also keeps strangers from telling versions apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from mailserver.imap.capabilities.offers import is_off
from mailserver.imap.session import CommandSpec, Session
from mailserver.net.login import LoginService

__all__ = ["capability_list"]

#: In the order of announcement; protocol versions first, as some clients look for them there.
_BEFORE_LOGIN = ("IMAP4rev2", "IMAP4rev1", "SASL-IR", "LITERAL+", "ENABLE", "ID", "LANGUAGE")
#: What no single command brings: arguments, response codes and ways of answering that are built in.
_BUILT_IN = (
    "CHILDREN", "CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "UIDPLUS", "SPECIAL-USE", "CREATE-SPECIAL-USE", "LIST-EXTENDED",
    "LIST-STATUS", "STATUS=SIZE", "ESEARCH", "SEARCHRES", "PARTIAL", "WITHIN", "SORT=DISPLAY", "ESORT", "CONTEXT=SORT",
    "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "BINARY", "MULTIAPPEND", "FILTERS", "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE", "OBJECTID", "RIGHTS=kxte", "LIST-MYRIGHTS", "LIST-METADATA", "CATENATE", "PREVIEW",
    "SAVEDATE", "INPROGRESS", "UIDONLY", "URL-PARTIAL",
)  # fmt: skip


def capability_list(
    commands: Iterable[CommandSpec], login: LoginService, *, append_limit: int, contributed: Iterable[str] = ()
) -> Callable[[Session], str]:
    """A function that gives a session's capabilities, separated by spaces."""
    brought = (spec.capability for spec in commands)
    after = (*_BEFORE_LOGIN, *brought, *_BUILT_IN, f"APPENDLIMIT={append_limit}", *contributed)

    @lru_cache(maxsize=64)
    def left(logged_in: bool, off: frozenset[str]) -> str:
        names = after if logged_in else _BEFORE_LOGIN
        return " ".join(dict.fromkeys(name for name in names if name and not is_off(name.upper(), off)))

    def announce(session: Session) -> str:
        if session.account is not None:
            return " ".join((left(True, session.off), *_for_some(session)))
        names = [left(False, session.off)]
        if session.starttls and session.offers("STARTTLS"):
            names.append("STARTTLS")
        mechanisms = [f"AUTH={mechanism}" for mechanism in login.mechanisms(session.facts)]
        names.extend(name for name in mechanisms if session.offers(name))
        if not mechanisms:
            # RFC 9051 §6.2.3: no LOGIN over a connection that others can read.
            names.append("LOGINDISABLED")
        return " ".join(names)

    return announce


def _for_some(session: Session) -> Iterator[str]:
    """What only some users have, and others at other times."""
    if session.offers("SEARCH=FUZZY"):
        # With a plugin that has an index (RFC 6203), and such a plugin may come and go.
        yield "SEARCH=FUZZY"
    if session.administers_quotas and session.offers("QUOTASET"):
        # RFC 9208 §1
        yield "QUOTASET"
