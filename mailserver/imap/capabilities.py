"""What is announced (RFC 9051 §6.1.1, §7.2.2): computed from the registered commands and what the operator left on.

Before login a client is told only what it may use then; that also keeps strangers from telling versions apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from mailserver.imap.session import CommandSpec, Session
from mailserver.net.login import LoginService

__all__ = ["capability_list", "switched_off"]

#: In the order of announcement; protocol versions first, as some clients look for them there.
_BEFORE_LOGIN = ("IMAP4rev2", "IMAP4rev1", "SASL-IR", "LITERAL+", "ENABLE", "ID")
#: What no single command brings: arguments, response codes and ways of answering that are built in.
_BUILT_IN = (
    "CHILDREN", "CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "UIDPLUS", "SPECIAL-USE", "CREATE-SPECIAL-USE", "LIST-EXTENDED",
    "LIST-STATUS", "STATUS=SIZE", "ESEARCH", "SEARCHRES", "BINARY", "MULTIAPPEND", "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
)  # fmt: skip


def switched_off(name: str, disabled: Collection[str]) -> bool:
    """Whether the operator switched this capability off; what stands on another one goes with it."""
    return name.upper() in disabled or (name == "QRESYNC" and "CONDSTORE" in disabled)


def capability_list(
    commands: Iterable[CommandSpec],
    login: LoginService,
    *,
    disabled: Iterable[str],
    append_limit: int,
    contributed: Iterable[str] = (),
) -> Callable[[Session], str]:
    """A function that gives a session's capabilities, separated by spaces."""
    off = {name.upper() for name in disabled}

    def left(names: Iterable[str]) -> str:
        return " ".join(dict.fromkeys(name for name in names if name and not switched_off(name, off)))

    before = left(_BEFORE_LOGIN)
    brought = (spec.capability for spec in commands)
    after = left((*_BEFORE_LOGIN, *brought, *_BUILT_IN, f"APPENDLIMIT={append_limit}", *contributed))

    def announce(session: Session) -> str:
        if session.account is not None:
            return after
        names = [before]
        if session.starttls and not switched_off("STARTTLS", off):
            names.append("STARTTLS")
        mechanisms = login.mechanisms(session.facts)
        names.extend(f"AUTH={mechanism}" for mechanism in mechanisms)
        if not mechanisms:
            # RFC 9051 §6.2.3: no LOGIN over a connection that others can read.
            names.append("LOGINDISABLED")
        return " ".join(names)

    return announce
