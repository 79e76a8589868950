"""Rights on a mailbox (RFC 4314 §2.1), and what they allow."""

from __future__ import annotations

from enum import Enum

from mailserver.model.flags import DELETED, SEEN

__all__ = ["ALL_RIGHTS", "NO_RIGHTS", "Right", "Rights", "right_for_flag"]


class Right(Enum):
    """RFC 4314 §2.1; the order is the one in which they are shown."""

    LOOKUP = "l"
    READ = "r"
    SEEN = "s"
    WRITE = "w"
    INSERT = "i"
    POST = "p"
    CREATE = "k"
    DELETE = "x"
    MARK_DELETED = "t"
    EXPUNGE = "e"
    ADMINISTER = "a"


Rights = frozenset[Right]

ALL_RIGHTS: Rights = frozenset(Right)
NO_RIGHTS: Rights = frozenset()

_FOR_FLAG = {SEEN: Right.SEEN, DELETED: Right.MARK_DELETED}


def right_for_flag(flag: str) -> Right:
    """The right to set or clear a (normalized) flag (RFC 4314 §4)."""
    return _FOR_FLAG.get(flag, Right.WRITE)
