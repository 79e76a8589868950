"""Which mailbox a client's name means, and what this user may do with it (RFC 4314 §4).

Every command that names a mailbox asks here, and goes on with what it gets.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.model.ids import AccountId
from mailserver.model.rights import Rights
from mailserver.ports.store import AccountStore

__all__ = ["Access"]


@dataclass(frozen=True, slots=True)
class Access:
    """A mailbox of `account`: the store calls it `name` in `folders`; `rights` are this user's."""

    account: AccountId
    folders: AccountStore
    name: str
    rights: Rights
