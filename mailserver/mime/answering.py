"""May a program answer a message for its recipient? (RFC 3834 §2; RFC 5230 §4.5, §4.6.)"""

from __future__ import annotations

from collections.abc import Callable

from mailserver.mime.author import named_in
from mailserver.mime.automatic import automatic_sign
from mailserver.mime.headers import header_block_end, value
from mailserver.model.address import EmailAddress

__all__ = ["why_no_answer"]

#: Where the recipient must be named, so that it is no mail for a list or for many.
_NAMING = (b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc")
_MOST, _LONGEST = 200, 65_536
_SUPPRESSED = (b"all", b"oof", b"autoreply")


def why_no_answer(sender: EmailAddress | None, head: bytes, mine: Callable[[EmailAddress], bool]) -> str:
    """Why not, in words; "" when it may be answered. Once per sender and some days is for the caller to see to.

    Args:
        sender: That of the envelope, to whom the answer would go.
        head: The first octets of the message, with its whole header.
        mine: Is it an address of the person for whom the answer would be?
    """
    sign = automatic_sign(sender, head)
    if sign or sender is None:
        return sign
    header = head[: header_block_end(head)]
    suppressed = (value(header, b"x-auto-response-suppress") or b"").lower()
    if any(word.strip() in _SUPPRESSED for word in suppressed.split(b",")):
        return "its sender wants no automatic answers"
    if mine(sender):
        return "it is from the recipient's own address"
    for field in _NAMING:
        for entry in named_in(header, field, most=_MOST, longest=_LONGEST):
            if entry.address is not None and mine(entry.address):
                return ""
    return "none of the recipient's addresses is in To or Cc"
