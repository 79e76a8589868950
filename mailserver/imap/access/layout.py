"""How clients see the store's names: `imap.namespace_prefix` and `imap.separator` keep an adopted `INBOX.` layout.

The store knows one layout: `/` divides, nothing goes before. With separator `.` the two characters change places, so
the mapping is one to one whatever a name contains. With a prefix every name but INBOX begins with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailserver.model.errors import NotFound
from mailserver.model.mailbox import INBOX, SEPARATOR, is_inbox

__all__ = ["Layout", "parents"]


class Layout:
    """Both directions, and what NAMESPACE says."""

    __slots__ = ("_swap", "prefix", "separator")

    def __init__(self, prefix: str = "", separator: str = SEPARATOR) -> None:
        self.prefix = prefix
        self.separator = separator
        self._swap = {} if separator == SEPARATOR else str.maketrans(SEPARATOR + separator, separator + SEPARATOR)

    def swap(self, name: str) -> str:
        """The two separators change places; the same both ways."""
        return name.translate(self._swap)

    def to_store(self, name: str) -> str:
        """The store's name of what a client calls `name`.

        Raises:
            NotFound: outside the namespace.
        """
        if is_inbox(name):
            return INBOX
        if self.prefix:
            # A client that trims the separator off means the same; INBOX in the prefix has no case.
            if name[: len(self.prefix)].encode().upper() != self.prefix.encode().upper():
                raise NotFound(f"folders begin with {self.prefix}")
            name = name[len(self.prefix) :]
        return name.translate(self._swap)

    def to_client(self, name: str) -> str:
        """The client's name of the store's `name`."""
        return name if name == INBOX else self.prefix + name.translate(self._swap)


def parents(name: str, separator: str) -> Iterator[str]:
    """The names above this one, the nearest first."""
    at = name.rfind(separator)
    while at > 0:
        yield name[:at]
        at = name.rfind(separator, 0, at)
