"""Mail for anna+lists@ goes into the mailbox Lists."""

from __future__ import annotations

import re
from collections.abc import Awaitable

from mailserver import api
from mailserver.plugins.addresses.ledger import Ledger
from mailserver.plugins.addresses.settings import AddressesSettings

__all__ = ["Folders"]

#: Where a stranger must not put anything by himself, whatever their use is called.
_OWN = frozenset(("inbox", "junk", "rejects", "sent", "drafts", "trash", "archive"))
_NEW = re.compile(r"\w[\w -]{0,48}")


class Folders:
    """The hook `place`."""

    def __init__(self, host: api.Host, settings: AddressesSettings, ledger: Ledger) -> None:
        self._store = host.store
        self._settings = settings
        self._ledger = ledger

    def place(self, ctx: api.PlaceContext) -> Awaitable[api.Placement | None] | None:
        """Junk stays Junk."""
        if not ctx.detail or ctx.quarantined:
            return None
        filing = self._ledger.filing(ctx.account) or self._settings.folders
        return None if filing == "off" else self._find(ctx, create=filing == "create")

    async def _find(self, ctx: api.PlaceContext, *, create: bool) -> api.Placement | None:
        """A name is compared without regard to case; a dot in it may stand for the slash between two levels."""
        wanted = ctx.detail.casefold()
        if wanted.split("/")[0].split(".")[0] in _OWN:
            return None
        mailboxes = await (await self._store.open_account(ctx.account)).list_mailboxes()
        for name in (wanted, wanted.replace(".", "/")):
            for info in mailboxes:
                if info.selectable and not info.special_use and info.name.casefold() == name:
                    return api.Placement(mailbox=info.name, create=True)
        if not create or len(mailboxes) >= self._settings.most_folders or not _NEW.fullmatch(ctx.detail):
            return None
        # Of a mailbox with a use of its own there must be no second one.
        if any(info.name.casefold() == wanted for info in mailboxes):
            return None
        return api.Placement(mailbox=ctx.detail[:1].upper() + ctx.detail[1:], create=True)
