"""What a client hears of an error."""

from __future__ import annotations

from mailserver.model.errors import MailError
from mailserver.model.reply import Reply

__all__ = ["reply_to"]

#: RFC 5321 §4.2.3: no room, for now or for good.
_CODES = {"4.2.2": 452, "4.3.1": 452, "5.3.4": 552}


def reply_to(error: MailError) -> Reply:
    """The refusal that an error means; its code and its status are of one class (RFC 2034 §3)."""
    kind, usual = ("4", 451) if error.temporary else ("5", 554)
    status = kind + error.status[1:]
    return Reply(_CODES.get(status, usual), status, error.text)
