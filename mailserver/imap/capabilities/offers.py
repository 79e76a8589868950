"""Which capabilities the operator switched off: for everybody, for some accounts, for some clients by their ID.

A name takes with it what is written `NAME=…` (`COMPRESS` is `COMPRESS=DEFLATE`, `AUTH` every `AUTH=…`), and what cannot
be used without it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping

from mailserver.model.ids import AccountId

__all__ = ["CLIENT", "Offers", "is_off"]

#: What a key of `disabled_for` begins with when it is about clients.
CLIENT = "client:"

#: What each capability needs beside itself.
_STANDS_ON: Mapping[str, tuple[str, ...]] = {
    "CONTEXT=SEARCH": ("ESEARCH", "PARTIAL"),
    "CONTEXT=SORT": ("CONTEXT=SEARCH", "ESORT"),
    "CREATE-SPECIAL-USE": ("SPECIAL-USE",),
    "ESORT": ("SORT",),
    "FILTERS": ("METADATA",),
    "LIST-METADATA": ("METADATA", "LIST-EXTENDED"),
    "LIST-MYRIGHTS": ("ACL", "LIST-EXTENDED"),
    "LIST-STATUS": ("LIST-EXTENDED",),
    "MULTISEARCH": ("ESEARCH",),
    "PARTIAL": ("ESEARCH",),
    "QRESYNC": ("CONDSTORE",),
    "QUOTASET": ("QUOTA",),
    "RIGHTS=KXTE": ("ACL",),
    "SEARCHRES": ("ESEARCH",),
    "URL-PARTIAL": ("CATENATE", "URLAUTH"),
}


def is_off(capability: str, off: Collection[str]) -> bool:
    """Whether a capability is among those that are switched off, or stands on one of them. All in capitals."""
    if capability in off or capability.partition("=")[0] in off:
        return True
    return any(is_off(name, off) for name in _STANDS_ON.get(capability, ()))


def _pattern(text: str) -> re.Pattern[str]:
    """`*` and `?` as in file names, in any case; brackets stand for themselves."""
    return re.compile(fnmatch.translate(text.strip().replace("[", "[[]")), re.IGNORECASE)


class Offers:
    """The settings `disabled_capabilities` and `disabled_for`, ready to be asked."""

    def __init__(self, everybody: Iterable[str], some: Mapping[str, Collection[str]]) -> None:
        self._everybody = frozenset(name.upper() for name in everybody)
        self._clients, self._accounts = list[tuple[re.Pattern[str], Collection[str]]](), []
        for key, names in some.items():
            off = frozenset(name.upper() for name in names)
            if key.lower().startswith(CLIENT):
                self._clients.append((_pattern(key[len(CLIENT) :]), off))
            else:
                self._accounts.append((_pattern(key), off))

    def off(self, account: AccountId | None, name: str = "", version: str = "") -> frozenset[str]:
        """What is switched off for this account (None: nobody logged in yet) with this client, in capitals.

        Args:
            name, version: what the client says of itself (RFC 2971 §3.3); empty when it said nothing.
        """
        found = self._everybody
        if account is not None:
            found = found.union(*(off for pattern, off in self._accounts if pattern.match(account)))
        if name and self._clients:
            called = (name, f"{name}/{version}")
            found = found.union(*(off for pattern, off in self._clients if any(map(pattern.match, called))))
        return found
