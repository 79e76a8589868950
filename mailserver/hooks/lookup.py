"""Addresses of ours: what an address of a served domain means in the directory. Pure look-ups, no policy of any plugin.

One order for everybody: the exact address first (an account, then an alias), then its sub-address bases from the
longest (`anna+lists+x`: `anna+lists`, then `anna`). Nothing in a local part is ever taken for a route or a domain:
`u%d`, `d!u` and `u@d` are plain names (RFC 5321 §2.3.11; ATTACKS E01, E02).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailserver.model.address import EmailAddress
from mailserver.ports.directory import Account, Alias, Directory, Domain

__all__ = ["AccountMatch", "AliasMatch", "domain_of_host", "find_address", "is_role", "role_target"]

_ROLES = ("postmaster", "abuse")


@dataclass(frozen=True, slots=True)
class AccountMatch:
    """The address of an account; `detail` is what stood after the separator."""

    account: Account
    detail: str


@dataclass(frozen=True, slots=True)
class AliasMatch:
    """An alias; `detail` is what stood after the separator."""

    alias: Alias
    detail: str


def find_address(directory: Directory, address: EmailAddress) -> AccountMatch | AliasMatch | None:
    """The account or alias that an address names; None also when its domain is not served."""
    domain = directory.domain(address.domain)
    if domain is None:
        return None
    for base, detail in _bases(address, domain):
        account = directory.account(base.key)
        if account is not None:
            return AccountMatch(account, detail)
        alias = directory.alias(base.key)
        if alias is not None:
            return AliasMatch(alias, detail)
    return None


def _bases(address: EmailAddress, domain: Domain) -> Iterator[tuple[EmailAddress, str]]:
    yield address, ""
    separator = domain.subaddress_separator
    at = address.local.rfind(separator) if separator else -1
    while at > 0:
        yield EmailAddress(address.local[:at], address.domain), address.local[at + len(separator) :]
        at = address.local.rfind(separator, 0, at)


def is_role(address: EmailAddress) -> bool:
    """postmaster (RFC 5321 §4.5.1) or abuse (RFC 2142 §4), which must always reach someone."""
    return address.key.rpartition("@")[0] in _ROLES


def role_target(directory: Directory, address: EmailAddress) -> Account | EmailAddress | None:
    """Who gets the mail of a role address that is neither account nor alias.

    The domain's `postmaster` when it leads anywhere else, otherwise the oldest account of the domain, or of all. None
    when the domain is not served, or while there is no account at all.
    """
    domain = directory.domain(address.domain)
    if domain is None:
        return None
    if domain.postmaster:
        target = EmailAddress.parse(domain.postmaster)
        match = find_address(directory, target)
        if isinstance(match, AccountMatch):
            return match.account
        # An address of ours that nothing takes, or the role itself, would not reach anyone.
        if match is not None or directory.domain(target.domain) is None:
            return target
    accounts = directory.accounts()
    own = [account for account in accounts if account.address.domain == domain.name]
    return min(own or accounts, key=lambda account: (account.created, account.account), default=None)


def domain_of_host(directory: Directory, hostname: str) -> str:
    """The served domain that the host's name is in, else the first one; "" while none is served. What the server writes
    in its own name comes from there."""
    name = hostname.lower()
    while name:
        if directory.domain(name) is not None:
            return name
        name = name.partition(".")[2]
    return next((domain.name for domain in directory.domains()), "")
