"""Addresses of ours: what an address of a served domain means in the directory. Pure look-ups, no policy of any plugin.

One order for everybody: the exact address first (an account, then an alias), then its sub-address bases from the
longest (`anna+lists+x`: `anna+lists`, then `anna`). Nothing in a local part is ever taken for a route or a domain:
`u%d`, `d!u` and `u@d` are plain names (RFC 5321 §2.3.11; ATTACKS E01, E02).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mailserver.hooks.contexts import LocalMailbox, Redirect
from mailserver.model.address import EmailAddress
from mailserver.ports.directory import ROLE_MAIL, Account, Alias, Directory, Domain

__all__ = [
    "AccountMatch", "AliasMatch", "agreed", "domain_of_host", "find_address", "is_role",
    "leads_to_somebody", "places_of", "role_target",
]  # fmt: skip

_ROLES = ("postmaster", "abuse")
#: Addresses that are looked at behind one.
_MOST_BEHIND = 1000


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
    """Who gets the mail of a role address that is neither an account nor an alias that leads to somebody.

    The domain's `postmaster` when it leads anywhere else (and agreed, if it is not ours), otherwise the oldest account
    of the domain, or of all. None when the domain is not served, or while there is no account at all.
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
        outside = directory.domain(target.domain) is None
        if agreed(directory, domain, ROLE_MAIL, target) if outside else leads_to_somebody(directory, target):
            return target
    accounts = directory.accounts()
    own = [account for account in accounts if account.address.domain == domain.name]
    return min(own or accounts, key=lambda account: (account.created, account.account), default=None)


def places_of(directory: Directory, account: Account, detail: str = "") -> tuple[LocalMailbox | Redirect, ...]:
    """Where mail for an account goes: its mailbox, and the targets of its forward.

    The mailbox keeps the mail as long as one of the targets cannot be used: its owner did not agree, or it is an
    address of ours that is gone or reaches nobody; what turns out to take nothing for other reasons has it as what is
    `otherwise`. An account that is disabled forwards nothing.
    """
    forward = directory.forward(account.account) if account.enabled else None
    here = LocalMailbox(account=account.account, detail=detail)
    outside, ours = list[EmailAddress](), list[Redirect]()
    for target in forward.targets if forward is not None else ():
        if forward is not None and directory.domain(target.domain) is None:
            if not _waits(directory, forward, target):
                outside.append(target)
        elif leads_to_somebody(directory, target, account):
            ours.append(Redirect(address=target, otherwise=here))
    if forward is None or not (outside or ours):
        return (here,)
    keep = forward.keep or len(outside) + len(ours) < len(forward.targets)
    if not outside and not keep:
        return tuple(ours)
    return (replace(here, forward=tuple(outside), keep=keep), *ours)


def leads_to_somebody(directory: Directory, target: EmailAddress, besides: Account | None = None) -> bool:
    """Does mail for an account or alias come to an account, or to somebody elsewhere who agreed? Aliases and forwards
    on the way may lead in a circle, or only to those who did not agree; back to `besides`, who sends it on, is nobody.
    What is neither may be known to a plugin; where it is `target` itself it counts for nobody.
    """
    waiting, seen = [target], set[str]()
    while waiting and len(seen) < _MOST_BEHIND:
        address = waiting.pop()
        if address.key in seen:
            continue
        seen.add(address.key)
        if directory.domain(address.domain) is None:
            return True
        match = find_address(directory, address)
        if isinstance(match, AccountMatch):
            if besides is not None and match.account.account == besides.account:
                continue
            forward = directory.forward(match.account.account) if match.account.enabled else None
            if forward is None or forward.keep or any(_waits(directory, forward, one) for one in forward.targets):
                return True
            waiting += forward.targets
        elif match is not None:
            waiting += (one for one in match.alias.targets if not _waits(directory, match.alias, one))
        elif address is not target:
            return True
    return False


def agreed(directory: Directory, domain: Domain, local: str, target: EmailAddress) -> bool:
    """Does the owner of an address elsewhere want the mail that a setting of the domain gives to it? The alias of the
    reserved name `local` knows."""
    alias = directory.alias(EmailAddress(local, domain.name).key)
    if alias is None or all(one.key != target.key for one in alias.targets):
        return False
    return not _waits(directory, alias, target)


def _waits(directory: Directory, entry: Alias, target: EmailAddress) -> bool:
    return directory.needs_consent(target) and entry.awaited(target) is not None


def domain_of_host(directory: Directory, hostname: str) -> str:
    """The served domain that the host's name is in, else the first one; "" while none is served. What the server writes
    in its own name comes from there."""
    name = hostname.lower()
    while name:
        if directory.domain(name) is not None:
            return name
        name = name.partition(".")[2]
    return next((domain.name for domain in directory.domains()), "")
