"""What an account says of messages by where it puts them, or by a keyword: "junk", "wanted", "kept", "answered", or
"unread" (thrown away; who looks at it must see whether it was read)."""

from __future__ import annotations

from mailserver.model.events import FlagsChanged, Moved
from mailserver.model.flags import FlagChange
from mailserver.model.mailbox import SpecialUse
from mailserver.ports.store import AccountStore

__all__ = ["opinion_of_move", "opinions_of_flags"]

_REJECTS, _INBOX, _OTHER = "rejects", "inbox", "other"
_JUNK, _TRASH = SpecialUse.JUNK.name, SpecialUse.TRASH.name
#: What mail programs write, in lower case.
_KEYWORDS = {
    "$junk": "junk", "junk": "junk", "$notjunk": "wanted", "notjunk": "wanted", "nonjunk": "wanted",
    "\\answered": "answered",
}  # fmt: skip


async def opinion_of_move(event: Moved, store: AccountStore) -> str:
    """Of messages that went from a mailbox of an account to another one; "": it says nothing. Raises NotFound."""
    source, target = await _role(store, event.source), await _role(store, event.mailbox)
    if target == _JUNK:
        return "" if source in (_JUNK, _TRASH) else "junk"
    if source in (_JUNK, _REJECTS):
        return "" if target in (_TRASH, _REJECTS) else "wanted"
    if target == _TRASH:
        return "" if source == _TRASH else "unread"
    return "kept" if source == _INBOX and target in (_OTHER, SpecialUse.ARCHIVE.name) else ""


def opinions_of_flags(event: FlagsChanged) -> set[str]:
    """What a user, or the mail program, said by flags that were set; none when it was nobody of ours."""
    if event.how is FlagChange.REMOVE or not event.account:
        return set()
    return {_KEYWORDS[flag.lower()] for flag in event.flags if flag.lower() in _KEYWORDS}


async def _role(store: AccountStore, name: str) -> str:
    uses = (await store.find(name)).special_use
    if uses:
        return min(use.name for use in uses)
    if name == "INBOX":
        return _INBOX
    return _REJECTS if name == "Rejects" else _OTHER
