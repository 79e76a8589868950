"""Who a user of this machine is as a sender of mail."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput
from mailserver.model.reply import Reply
from mailserver.net.users import UserNames
from mailserver.ports.directory import Directory
from mailserver.smtp.resolving import Resolver
from mailserver.smtp.settings import SendmailSettings

__all__ = ["LocalUser", "LocalUsers"]

_NO_DOMAIN = Reply(554, "5.3.5", "No domain is served here, so nobody has an address: mailserver domain add DOMAIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUser:
    """`address` is the sender unless the program names another; `addresses` (as keys) and `domains` may be used too.

    `privileged`: root or the server's own user, who may use every address of a served domain.
    """

    uid: int
    name: str
    address: EmailAddress
    addresses: frozenset[str]
    domains: frozenset[str]
    privileged: bool


class LocalUsers:
    """Finds users, and completes addresses as this machine means them."""

    def __init__(
        self, settings: SendmailSettings, directory: Directory, resolver: Resolver, names: UserNames, hostname: str
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._resolver = resolver
        self._names = names
        self._here = {"localhost", "localhost.localdomain", hostname.lower(), _node()}

    def update(self, settings: SendmailSettings) -> None:
        """Other users from now on."""
        self._settings = settings

    async def find(self, uid: int) -> LocalUser | Reply:
        """The user, or why nothing is taken from them."""
        home = self._resolver.home()
        if not home:
            return _NO_DOMAIN
        privileged = uid in (0, os.geteuid())
        name = await self._names.name(uid) or f"uid{uid}"
        allowed = self._settings.allow
        if not privileged and "*" not in allowed and name not in allowed:
            return Reply(554, "5.7.1", f"The user {name} may not send mail from this machine (sendmail.allow)")
        given = self._settings.users.get(name, [])
        addresses = [EmailAddress.parse(text) for text in given if not text.startswith("@")]
        domains = [normalize_domain(text[1:]) for text in given if text.startswith("@")]
        first = addresses[0] if addresses else _address(name, domains[0] if domains else home, uid)
        if not self.served(first.domain):
            return Reply(554, "5.3.5", f"The domain of {first} is not served here (sendmail.users.{name})")
        return LocalUser(
            uid=uid, name=name, address=first, addresses=frozenset(a.key for a in [first, *addresses]),
            domains=frozenset(domains), privileged=privileged,
        )  # fmt: skip

    def served(self, domain: str) -> bool:
        """Do we serve this domain?"""
        return self._directory.domain(domain) is not None

    def may_use(self, user: LocalUser, address: EmailAddress) -> bool:
        """By what the configuration says; the addresses of an account of the same name are the directory's matter."""
        if not self.served(address.domain):
            return False
        return user.privileged or address.key in user.addresses or address.domain in user.domains

    def is_here(self, domain: str) -> bool:
        """Does this domain mean the machine itself, "localhost" and the like?"""
        return domain.lower() in self._here and not self.served(domain.lower())

    def author(self, user: LocalUser, local: str) -> EmailAddress:
        """Whom a sender without a domain stands for: whatever it says, we know who the user is.

        Cron writes "From: root (Cron Daemon)" for everybody.
        """
        if not user.privileged or local == user.name:
            return user.address
        return _address(local, self._resolver.home(), user.uid)

    def recipient(self, user: LocalUser, local: str) -> EmailAddress:
        """Whom a recipient without a domain stands for."""
        return user.address if local == user.name else _address(local, self._resolver.home(), user.uid)

    async def stand_in(self, address: EmailAddress) -> EmailAddress | None:
        """The postmaster, for a user of this machine who has no mailbox: root, and all that programs run as."""
        if address.domain != self._resolver.home() or not await self._names.exists(address.local):
            return None
        return EmailAddress("postmaster", address.domain)


def _address(local: str, domain: str, uid: int) -> EmailAddress:
    try:
        return EmailAddress.parse(str(EmailAddress(local, domain)))
    except InvalidInput:
        return EmailAddress(f"uid{uid}", domain)


def _node() -> str:
    return platform.node().lower()
