"""Domains, accounts and aliases: `accounts.db` beside what the configuration says (DESIGN §9).

Look-ups are synchronous and served from memory (the whole directory of a small organisation is a few hundred kB);
changes are durable when the coroutine returns. Names from the configuration are read-only here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailserver.model.address import EmailAddress
from mailserver.model.app_password import AppPassword
from mailserver.model.ids import AccountId
from mailserver.model.password import ScramVerifier

__all__ = [
    "CATCH_ALL", "ROLE_MAIL", "UNASKED", "Account", "Alias", "Directory", "Domain", "Forward", "Pending",
    "ScramVerifier",
]  # fmt: skip

#: The local part of the alias that stands between a domain's `catch_all` and a target elsewhere, whose owner is asked;
#: and that for its `postmaster`.
CATCH_ALL, ROLE_MAIL = "catch-all", "role-mail"
#: `Pending.until` of what was not asked.
UNASKED = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One person's mail. `password_hash` is the argon2id string, "" for no password login; limits of 0 mean none.

    An account that is not `enabled` cannot log in or send; mail for it is still taken, so that disabling loses nothing.
    `created` is in epoch seconds; 0 becomes the present when the account is added.
    """

    account: AccountId
    address: EmailAddress
    password_hash: str = field(default="", repr=False)
    scram: ScramVerifier | None = None
    enabled: bool = True
    octets_limit: int = 0
    messages_limit: int = 0
    created: float = 0.0
    app_passwords: tuple[AppPassword, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A domain that we serve. `catch_all` gets what no account or alias takes; `postmaster` gets its role addresses."""

    name: str
    catch_all: str = ""
    postmaster: str = ""
    subaddress_separator: str = "+"
    from_config: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A target whose owner did not agree. While it `needs_consent` it gets nothing, also when the question is void.

    `request` names the question; `secret` is the key of the answer to it, which is void after `until` (epoch seconds;
    0: the owner said no; UNASKED: he was not asked, since the address was ours, or trusted).
    """

    target: EmailAddress
    request: str
    secret: bytes = field(repr=False)
    until: float

    @property
    def declined(self) -> bool:
        """Did the owner say no?"""
        return self.until == 0.0

    @property
    def unasked(self) -> bool:
        """Was its owner never asked?"""
        return self.until == UNASKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """An address that stands for others (addresses of ours or anyone's). `pending` are some of the targets."""

    address: EmailAddress
    targets: tuple[EmailAddress, ...]
    from_config: bool = False
    pending: tuple[Pending, ...] = ()

    def awaited(self, target: EmailAddress) -> Pending | None:
        """What its owner was asked; None: nothing, or he agreed."""
        return next((one for one in self.pending if one.target.key == target.key), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward(Alias):
    """Where mail for the account of this address goes on to. `keep`: a copy stays in its mailbox."""

    keep: bool = True


class Directory(Protocol):
    """All of it. Keys are `EmailAddress.key` and `Domain.name`. Mutators raise AlreadyExists, NotFound, NotPermitted
    (read-only)."""

    def domain(self, name: str) -> Domain | None:
        """A served domain, by its normalized name."""
        ...

    def domains(self) -> Sequence[Domain]:
        """All, sorted."""
        ...

    def account(self, key: str) -> Account | None:
        """An account by the key of its address."""
        ...

    def accounts(self) -> Sequence[Account]:
        """All, sorted."""
        ...

    def alias(self, key: str) -> Alias | None:
        """An alias by the key of its address."""
        ...

    def aliases(self) -> Sequence[Alias]:
        """All, sorted."""
        ...

    async def add_domain(self, domain: Domain) -> None:
        """Raises AlreadyExists."""
        ...

    async def remove_domain(self, name: str) -> None:
        """Raises NotFound, NotPermitted (it still has accounts, or stands in the configuration)."""
        ...

    async def add_account(self, account: Account) -> None:
        """Raises AlreadyExists (account or alias), NotFound (its domain)."""
        ...

    async def update_account(self, account: Account) -> None:
        """Replace what is kept of an account, its app passwords apart. Raises NotFound."""
        ...

    async def set_limits(self, account: AccountId, octets: int | None, messages: int | None) -> None:
        """Other limits; None leaves one as it is. Everything else of the account stays as it is at that moment, whoever
        else changes it. Raises NotFound."""
        ...

    async def renew_password(
        self, account: AccountId, stored: str, password_hash: str, scram: ScramVerifier | None
    ) -> None:
        """Other hashes of the same password: unlike a new password they end no session.

        Nothing happens unless `stored` is still the account's argon2id string. Raises NotFound.
        """
        ...

    async def add_app_password(self, account: AccountId, added: AppPassword) -> None:
        """One more. Raises NotFound, AlreadyExists (the name), LimitReached (50 of them)."""
        ...

    async def remove_app_password(self, account: AccountId, name: str) -> None:
        """It is good no more, and the account's sessions end. Raises NotFound (account or app password)."""
        ...

    async def used_app_password(self, account: AccountId, name: str) -> None:
        """It was used now; written down at most once an hour. Nothing happens when there is none of that name."""
        ...

    async def remove_account(self, account: AccountId) -> None:
        """The mail stays. Raises NotFound."""
        ...

    async def add_alias(
        self, address: EmailAddress, targets: Collection[EmailAddress], pending: Collection[Pending] = ()
    ) -> None:
        """Raises AlreadyExists (account or alias), NotFound (its domain)."""
        ...

    def forward(self, account: AccountId) -> Forward | None:
        """Where the account's mail goes on to."""
        ...

    def forwards(self) -> Sequence[Forward]:
        """Those of all accounts, sorted."""
        ...

    async def set_forward(self, forward: Forward) -> None:
        """In place of the one that the account of its address has. Raises NotFound (account)."""
        ...

    async def remove_forward(self, account: AccountId) -> None:
        """Its mail goes nowhere else any more, and nobody is asked for it. Raises NotFound."""
        ...

    async def ask_targets(self, address: EmailAddress, pending: Collection[Pending]) -> None:
        """Other questions to owners of an alias' or a forward's targets who did not agree yet. Raises NotFound (the
        address, or one that is pending)."""
        ...

    async def confirm_target(self, address: EmailAddress, target: EmailAddress) -> None:
        """The owner of a target of an alias or a forward agreed. Raises NotFound (the address, or the question)."""
        ...

    async def doubt_targets(self, unasked: Mapping[EmailAddress, Collection[Pending]]) -> None:
        """By address of an alias or a forward: targets whose owners are not known to have agreed. Those of which
        something is known, and that are not there any more, stay as they are."""
        ...

    def trust(self, domains: Collection[str]) -> Callable[[], None]:
        """Owners of addresses in these domains elsewhere need not agree; call what is returned to end that. Of several
        such calls the latest that is not ended counts."""
        ...

    def needs_consent(self, target: EmailAddress) -> bool:
        """Is it the address of somebody who is not ours, and not trusted?"""
        ...

    def question(self, request: str) -> tuple[Alias, Pending] | None:
        """The question of this name that is in `accounts.db`, and the alias or forward that it is about."""
        ...

    def asked(self, target: EmailAddress) -> float:
        """When a question to this address was, or will be, sent for the last time (epoch seconds); 0: not lately."""
        ...

    async def note_asked(self, target: EmailAddress, at: float) -> None:
        """A question to this address is sent then. It is remembered for a day, and when aliases go."""
        ...

    async def remove_alias(self, address: EmailAddress) -> None:
        """Raises NotFound, NotPermitted (stands in the configuration)."""
        ...
