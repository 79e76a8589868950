"""The domains that accounts wrote to, in memory for those accounts that get mail: for the thread of the database."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable

from mailserver import api
from mailserver.plugins.reputation.identities import TO_DOMAIN, Key

__all__ = ["Correspondents"]

#: Accounts, and domains of each, the last ones: some 20 MB.
_MOST_ACCOUNTS, _MOST_DOMAINS = 100, 500


class Correspondents:
    """Read when they are asked for, and kept up from then on."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, api.KnownDomains] = OrderedDict()

    def of(self, db: sqlite3.Connection, account: str) -> api.KnownDomains:
        """The domains of an account. Raises sqlite3.Error."""
        known = self._known.get(account)
        if known is None or len(known) > 2 * _MOST_DOMAINS:
            rows = db.execute(
                "SELECT value FROM sender WHERE account = ? AND kind = ? ORDER BY last DESC LIMIT ?",
                (account, TO_DOMAIN, _MOST_DOMAINS),
            )
            known = self._known[account] = api.KnownDomains(domain for (domain,) in rows)
            if len(self._known) > _MOST_ACCOUNTS:
                self._known.popitem(last=False)
        self._known.move_to_end(account)
        return known

    def wrote(self, account: str, senders: Iterable[Key]) -> None:
        """An account wrote to these, among others."""
        known = self._known.get(account)
        if known is None:
            return
        for kind, value in senders:
            if kind == TO_DOMAIN:
                known.add(value)
