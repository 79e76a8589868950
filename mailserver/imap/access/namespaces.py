"""The names of mailboxes as clients see them: one's own, other users', and shared ones (RFC 2342, RFC 9051 §6.3.10).

    Work/2026                                    one's own, as the layout says
    Other Users/ben@example.test/INBOX           what Ben shares; beneath his address his tree as he sees it
    Shared/office@example.test/INBOX             the same for an account that the operator named as a shared one

The separator is the same everywhere. With `.` it and `/` change places in these names, too, so an address reads
`ben@example/test`. A foreign mailbox has a *path*, which is its name with `/`: subscriptions keep it. Foreign names are
not reserved: an own mailbox that is called so stays what it is (`reach.py`), but none can be made any more.
"""

from __future__ import annotations

from collections.abc import Collection

from mailserver.imap.access.layout import Layout
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import SEPARATOR

__all__ = ["Namespaces"]


class Namespaces:
    """The settings `other_users_prefix`, `shared_prefix` and `shared_accounts`; an empty prefix switches one off."""

    __slots__ = ("_others", "_shared", "_shared_accounts", "layout", "others", "shared")

    def __init__(self, layout: Layout, others: str, shared: str, shared_accounts: Collection[str]) -> None:
        self.layout = layout
        self._others = others + SEPARATOR if others else ""
        self._shared = shared + SEPARATOR if shared and shared_accounts else ""
        self._shared_accounts = frozenset(shared_accounts)
        #: The prefixes as NAMESPACE says them; None: there is no such namespace.
        self.others = layout.swap(self._others) or None
        self.shared = layout.swap(self._shared) or None

    def path(self, client_name: str) -> str | None:
        """The path of a name in a foreign namespace; None for any other name."""
        path = self.layout.swap(client_name)
        return path if any(prefix and path.startswith(prefix) for prefix in (self._others, self._shared)) else None

    def parse(self, path: str) -> tuple[AccountId, str] | None:
        """The owner and the store's name ("" for the owner's root) of a path; None if it names nobody.

        An address ends with the part that has its `@`, so local parts may contain the separator.
        """
        for prefix, shared in ((self._others, False), (self._shared, True)):
            if prefix and path.startswith(prefix):
                at = path.find("@", len(prefix))
                if at < 0:
                    return None
                end = path.find(SEPARATOR, at)
                owner = AccountId(path[len(prefix) :] if end < 0 else path[len(prefix) : end])
                if (owner in self._shared_accounts and bool(self._shared)) is not shared:
                    return None
                return owner, "" if end < 0 else path[end + 1 :]
        return None

    def path_of(self, owner: AccountId, name: str) -> str | None:
        """The path of an owner's mailbox; None where the namespace is switched off."""
        prefix = self._shared if self._shared and owner in self._shared_accounts else self._others
        return f"{prefix}{owner}{SEPARATOR}{name}" if prefix else None

    def may_match(self, pattern: str) -> bool:
        """Whether a LIST pattern could match any foreign name."""
        fixed = pattern[: min(at if (at := pattern.find(wild)) >= 0 else len(pattern) for wild in "*%")]
        prefixes = [prefix for prefix in (self.others, self.shared) if prefix]
        return any(prefix.startswith(fixed) or fixed.startswith(prefix[:-1]) for prefix in prefixes)

    def shown(self, path: str) -> str:
        """A path as clients see it."""
        return self.layout.swap(path)
