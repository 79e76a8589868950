"""Which mailbox a client's name means, and what this user may do with it (RFC 4314 §4, RFC 2342).

Every command that names a mailbox asks here, and goes on with what it gets. Three rules:

* A name that stands for a mailbox of one's own is that, whatever it looks like; the owner has all rights.
* Another account is opened only if it shares something with this user, so naming accounts finds out nothing, makes
  nothing on the disk, and takes the same time whoever is named (ATTACKS I15).
* Where a needed right is missing, a user who may look the mailbox up (`l`) is told so; for all others it does not
  exist, in the words and octets for a mailbox that there never was. A right that was granted is good without `l`, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from mailserver.imap.access.namespaces import Namespaces
from mailserver.model.errors import InvalidInput, NotFound, NotPermitted
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, SEPARATOR, MailboxInfo, check_mailbox_name
from mailserver.model.rights import ALL_RIGHTS, ANYONE, Acl, Right, Rights, granted
from mailserver.ports.directory import Directory
from mailserver.ports.store import AccountStore, MailStore

__all__ = ["Access", "Foreign", "Reach"]

#: RENAME of INBOX moves its messages, and leaves it (RFC 9051 §6.3.6).
_EMPTY_IT = frozenset({Right.READ, Right.MARK_DELETED, Right.EXPUNGE})
#: One of these is enough to be told anything at all (RFC 4314 §4, MYRIGHTS).
_ANY = frozenset({Right.LOOKUP, Right.READ, Right.INSERT, Right.CREATE, Right.DELETE, Right.ADMINISTER})
#: What LIST looks at for one user: accounts that it opens, and mailboxes. What is beyond can still be used by name.
_MOST_SHARERS = 1_000
_MOST_SHARED = 20_000


@dataclass(frozen=True, slots=True)
class Access:
    """A mailbox of `account`: the store calls it `name` in `folders`; `rights` are this user's."""

    account: AccountId
    folders: AccountStore
    name: str
    rights: Rights


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's mailbox that this user may look up, and its path (`namespaces.py`)."""

    path: str
    info: MailboxInfo
    access: Access


class Reach:
    """What one user reaches: all of `own`, and what others share. A `directory` of None knows everybody."""

    __slots__ = ("_anyone", "_directory", "_own", "_store", "namespaces", "user")

    def __init__(
        self, user: AccountId, own: AccountStore, store: MailStore, namespaces: Namespaces,
        directory: Directory | None, *, anyone: bool,
    ) -> None:  # fmt: skip
        self.user = user
        self.namespaces = namespaces
        self._own = own
        self._store = store
        self._directory = directory
        self._anyone = anyone

    def rights(self, owner: AccountId, acl: Acl) -> Rights:
        """This user's rights on a mailbox of `owner` with this ACL."""
        if owner == self.user:
            return ALL_RIGHTS
        if not self._anyone and acl:
            acl = {identifier: rights for identifier, rights in acl.items() if identifier.removeprefix("-") != ANYONE}
        return granted(acl, self.user)

    def known(self, account: str) -> bool:
        """Whether there is such an account, and it may be used."""
        if self._directory is None:
            return True
        entry = self._directory.account(account)
        return entry is not None and entry.enabled

    def grantable(self, identifier: str) -> None:
        """Raises NotPermitted: rights are not given to this identifier (as the store spells it).

        A right for an address that is nobody's would wait for whoever gets that address one day.
        """
        bare = identifier.removeprefix("-")
        if bare == ANYONE:
            if not self._anyone:
                raise NotPermitted("nothing is shared with anyone on this server")
        elif self._directory is not None:
            if bare.startswith("@"):
                if self._directory.domain(bare[1:]) is None:
                    raise NotPermitted("there is no such domain on this server")
            elif self._directory.account(bare) is None:
                raise NotPermitted("there is no such account on this server")

    async def access(self, client_name: str, *need: Right) -> Access:
        """The mailbox that a client calls so, for somebody who `need`s all of these rights on it; none: any right.

        Raises:
            NotFound: there is none, or this user may not know of it.
            NotPermitted: a right is missing.
        """
        path = self.namespaces.path(client_name)
        if path is None:
            return await self._owned(self.namespaces.layout.to_store(client_name))
        return await self._owned_as(path) or await self._foreign(path, need)

    async def place(self, client_name: str) -> Access:
        """Where a mailbox is made that a client will call so; with the rights on the mailbox above it.

        Raises:
            NotFound: no mailbox can be called so.
            NotPermitted: this user may not make one there (RFC 4314 §4: `k` on the nearest mailbox above).
        """
        path = self.namespaces.path(client_name)
        if path is None:
            return Access(self.user, self._own, self.namespaces.layout.to_store(client_name), ALL_RIGHTS)
        refused = NotPermitted("you may not make a mailbox there")
        found = await self._sharer(path)
        if found is None:
            raise refused
        owner, folders, name = found
        try:
            above = check_mailbox_name(name)
        except InvalidInput:
            raise refused from None
        while SEPARATOR in above:
            above = above.rpartition(SEPARATOR)[0]
            try:
                rights = self.rights(owner, (await folders.find(above)).acl)
            except NotFound:
                continue
            if Right.CREATE in rights:
                return Access(owner, folders, name, rights)
            break
        raise refused

    async def renamed(self, client_name: str) -> Access:
        """The mailbox that is to be renamed; one's own may be a name that only has children, and may not be there.

        Raises NotFound, NotPermitted.
        """
        path = self.namespaces.path(client_name)
        if path is None:
            return Access(self.user, self._own, self.namespaces.layout.to_store(client_name), ALL_RIGHTS)
        found = await self._owned_as(path) or await self._foreign(path, (Right.DELETE,))
        if found.name == INBOX and not found.rights.issuperset(_EMPTY_IT):
            raise NotPermitted("you may not take its messages out of this mailbox")
        return found

    async def subscribable(self, client_name: str, *, wanted: bool) -> str:
        """What subscriptions keep of a name. A foreign mailbox must be there to be subscribed to (RFC 4314 §4).

        Raises:
            NotFound: no mailbox can be called so, or a foreign one is not there or not for this user.
        """
        path = self.namespaces.path(client_name)
        if path is None:
            return self.namespaces.layout.to_store(client_name)
        if wanted and await self._owned_as(path) is None:
            await self._foreign(path, (Right.LOOKUP,))
        return path

    def to_client(self, owner: AccountId, name: str) -> str:
        """What this user calls a mailbox of `owner`."""
        if owner == self.user:
            return self.namespaces.layout.to_client(name)
        return self.namespaces.shown(self.namespaces.path_of(owner, name) or name)

    async def subscribed(self) -> frozenset[str]:
        """What this user is subscribed to, as clients call it."""
        names = self.namespaces
        return frozenset(
            names.shown(name) if names.parse(name) else names.layout.to_client(name)
            for name in await self._own.subscriptions()
        )

    async def shared_with_me(self) -> AsyncIterator[Foreign]:
        """Everything of others that this user may look up."""
        left = _MOST_SHARED
        for owner in list(await self._store.sharers(self.user))[:_MOST_SHARERS]:
            if not self.known(owner) or self.namespaces.path_of(owner, "") is None:
                continue
            try:
                folders = await self._store.existing_account(owner)
            except NotFound:
                continue
            for info in await folders.list_mailboxes():
                rights, path = self.rights(owner, info.acl), self.namespaces.path_of(owner, info.name)
                if Right.LOOKUP in rights and path is not None:
                    left -= 1
                    if left < 0:
                        return
                    yield Foreign(path, info, Access(owner, folders, info.name, rights))

    async def _owned(self, name: str) -> Access:
        return Access(self.user, self._own, (await self._own.find(name)).name, ALL_RIGHTS)

    async def _owned_as(self, path: str) -> Access | None:
        """An own mailbox that looks like somebody's: from a time before, or of another program."""
        if self.namespaces.layout.prefix:
            return None
        try:
            return await self._owned(path)
        except NotFound:
            return None

    async def _sharer(self, path: str) -> tuple[AccountId, AccountStore, str] | None:
        """The account of a path, and the store's name there; None if it shares nothing with this user."""
        parsed = self.namespaces.parse(path)
        if parsed is None:
            return None
        owner, name = parsed
        if not await self._store.shares(owner, self.user) or not self.known(owner):
            return None
        try:
            return owner, await self._store.existing_account(owner), name
        except NotFound:
            return None

    async def _foreign(self, path: str, need: tuple[Right, ...]) -> Access:
        missing = NotFound("there is no such mailbox")
        found = await self._sharer(path)
        if found is None:
            raise missing
        owner, folders, name = found
        try:
            info = await folders.find(name)
        except NotFound:
            raise missing from None
        rights = self.rights(owner, info.acl)
        if rights.issuperset(need) if need else rights & _ANY:
            return Access(owner, folders, info.name, rights)
        if Right.LOOKUP not in rights:
            raise missing
        letters = "".join(right.value for right in need if right not in rights)
        raise NotPermitted(f"you lack rights on this mailbox: {letters}")
