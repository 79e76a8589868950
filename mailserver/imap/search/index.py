"""What plugins know of the text of messages (hook `search`), for SEARCH=FUZZY (RFC 6203) and for speed."""

from __future__ import annotations

from mailserver.hooks.contexts import SearchAnswer, SearchContext
from mailserver.hooks.dispatch import Hooks
from mailserver.imap.replies import BadArguments
from mailserver.imap.session import Session
from mailserver.model.errors import MailError
from mailserver.model.ids import AccountId
from mailserver.ports.store import Mailbox
from mailserver.wire.imap.commands import Search
from mailserver.wire.imap.search_keys import BodyText, Header, Text

__all__ = ["SearchIndex"]


class SearchIndex:
    """The plugins' knowledge of one mailbox, as one session may ask for it."""

    def __init__(self, hooks: Hooks, account: AccountId, mailbox: Mailbox) -> None:
        self._hooks = hooks
        self._account = account
        self._mailbox = mailbox

    @classmethod
    def of(cls, session: Session, search: Search, mailbox: Mailbox) -> SearchIndex:
        """For a search in a mailbox.

        Raises:
            BadArguments: it has a FUZZY key, and that is not offered.
        """
        if search.fuzzy and not session.offers("SEARCH=FUZZY"):
            raise BadArguments("SEARCH=FUZZY is not offered here")
        return cls(session.services.hooks, session.owner, mailbox)

    async def ask(self, key: Header | BodyText | Text, *, fuzzy: bool) -> SearchAnswer | None:
        """None: no plugin has an answer, or the one that should have one failed; then messages are looked through."""
        if not key.text or not self._hooks.searches_for(self._account):
            return None
        where = key.name if isinstance(key, Header) else "TEXT" if isinstance(key, Text) else "BODY"
        box = self._mailbox
        try:
            return await self._hooks.search(SearchContext(
                account=self._account, mailbox_id=box.mailbox_id, uid_validity=box.uid_validity, where=where,
                text=key.text, fuzzy=fuzzy,
            ))  # fmt: skip
        except MailError:
            return None
