"""COMPARATOR (RFC 5255 §4.7): how SEARCH, SORT and THREAD compare texts in this session from now on.

Searches that are being updated (RFC 5267) go on as they began.
"""

from __future__ import annotations

from mailserver.imap.replies import Responses, no
from mailserver.imap.session import Session
from mailserver.mime.comparators import Collation, matching
from mailserver.wire.imap import commands

__all__ = ["comparator"]


async def comparator(session: Session, command: commands.Comparator) -> Responses:
    """Select the first one that is there, and say which others would do as well; or say which one is active."""
    if not command.orders:
        yield _response(session.collation, [])
        return
    found = dict.fromkeys(
        Collation(one, descending=order.startswith("-"))
        for order in command.orders
        for one in matching(order.lstrip("+-"), session.default_comparator)
    )
    if not found:
        yield no("there is no such comparator", "BADCOMPARATOR")
        return
    session.collation = next(iter(found))
    yield _response(session.collation, list(dict.fromkeys(one.comparator.name for one in found)))


def _response(active: Collation, names: list[str]) -> bytes:
    """RFC 5255 §4.8: all that match are told if they are more than one."""
    others = f" ({' '.join(names)})" if len(names) > 1 else ""
    return f"* COMPARATOR {active.selected}{others}\r\n".encode("ascii")
