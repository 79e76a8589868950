"""From a destination to the hosts that take its mail, in the order to try them (RFC 5321 §5.1).

Names are looked up one preference after the other, so that a backup whose DNS is broken holds up nobody whose primary
answers. Every address has been checked when it is given out (net/addresses.py), and is checked again by whoever
connects to it.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from mailserver.model.delivery import Destination
from mailserver.model.dns import MailExchanger
from mailserver.model.errors import MailError
from mailserver.net.addresses import literal, refusal
from mailserver.ports.resolver import LookupFailed, Resolver

__all__ = ["Exchanger", "ExchangerSearch", "Exchangers", "Unroutable"]

#: Of how many hosts and addresses of each we know enough (ATTACKS G09: ten thousand MX, a thousand addresses).
MAX_HOSTS, MAX_ADDRESSES = 20, 10
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanger:
    """One host to try; `name` is as its MX names it, never where a CNAME leads (RFC 7672 §2.2.1).

    A host that is named by its address has that as its name, as [192.0.2.1] or [IPv6:2001:db8::1]. `addresses` are IP
    literals in the order to try them, at least one. With `allow_private` the rule about private addresses does not
    count: the operator named the host, or allows them all. `mx_authentic`: DNSSEC proved that this host takes the
    domain's mail, or the operator says so.
    """

    name: str
    port: int
    addresses: tuple[str, ...]
    allow_private: bool = False
    mx_authentic: bool = False


class Unroutable(MailError):
    """No host can be tried; `temporary` and `status` say whether that may change."""

    status = "5.4.4"


class OwnAddress(Protocol):
    """Is this address and port where we take mail ourselves?"""

    def __call__(self, address: str, port: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Host:
    preference: int
    name: str
    port: int


class Exchangers:
    """Searches for the hosts of destinations.

    `own_names` are names under which we take mail, `own` knows our addresses; `port` is where other servers take mail.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        port: int = 25,
        allow_private: bool = False,
        own_names: Iterable[str] = (),
        own: OwnAddress | None = None,
        shuffle: Callable[[list[MailExchanger]], None] = random.shuffle,
    ) -> None:
        self.resolver = resolver
        self.port = port
        self.allow_private = allow_private
        self.own_names = frozenset(name.lower().rstrip(".") for name in own_names)
        self.own = own
        self.shuffle = shuffle

    def search(self, destination: Destination) -> ExchangerSearch:
        """To be iterated once, as far as needed."""
        return ExchangerSearch(self, destination)


class ExchangerSearch:
    """`async for exchanger in search`; afterwards `skipped` says in words which hosts were left out, and why.

    `unknown`: for one of them DNS could not be asked, so what the others say is not the last word. `error` is set at
    the end when there was no host at all; not being able to ask DNS is always temporary.
    """

    def __init__(self, exchangers: Exchangers, destination: Destination) -> None:
        self.skipped: list[str] = []
        self.error: Unroutable | None = None
        self._of = exchangers
        self._destination = destination
        self._fixed = bool(destination.hosts)
        self._allow_private = exchangers.allow_private or self._fixed
        self._authentic = self._fixed
        self._groups: list[list[_Host]] | None = None
        self._ready: list[Exchanger] = []
        self._given = 0
        #: DNS could not be asked for the addresses of one of the hosts: it may be the one that takes the mail.
        self.unknown = False
        self._loops = False

    def __aiter__(self) -> ExchangerSearch:
        return self

    async def __anext__(self) -> Exchanger:
        if self._groups is None:
            try:
                self._groups = await self._hosts()
            except Unroutable as error:
                self._groups, self.error = [], error
        while not self._ready and self._groups:
            await self._look_up(self._groups.pop(0))
        if self._ready:
            self._given += 1
            return self._ready.pop(0)
        if not self._given and self.error is None:
            self.error = self._nothing()
        raise StopAsyncIteration

    async def _hosts(self) -> list[list[_Host]]:
        """Groups of hosts that are as good as each other, the best first."""
        name, port = self._destination.name, self._of.port
        if self._fixed:
            return [[_Host(0, *host)] for host in self._destination.hosts[:MAX_HOSTS]]
        if name.startswith("["):
            return [[_Host(0, name, port)]]
        records = self._sorted(await self._mx(name))
        hosts = [_Host(record.preference, record.host, port) for record in records]
        groups = [list(group) for _, group in groupby(hosts, key=lambda host: host.preference)]
        for index, group in enumerate(groups):
            if any(host.name in self._of.own_names for host in group):
                self._loops = True
                return groups[:index]
        return groups

    async def _mx(self, domain: str) -> list[MailExchanger]:
        try:
            answer = await self._of.resolver.mx(domain)
        except LookupFailed as error:
            raise Unroutable(error.text, detail=error.detail, status=error.status, temporary=True) from None
        self._authentic = answer.authentic
        if not answer.exists:
            # RFC 5321 §5.1: a name that does not exist is an error, and not one that waiting cures.
            raise Unroutable(f"the domain {domain} does not exist in DNS", status="5.1.2")
        if not answer.records:
            return [MailExchanger(0, domain)]
        # RFC 7505 §3: one null MX and nothing else; beside others it means nothing.
        named = [record for record in answer.records if record.host]
        if not named:
            raise Unroutable(f"the domain {domain} accepts no mail, as its DNS says (null MX)", status="5.1.10")
        return named

    def _sorted(self, records: list[MailExchanger]) -> list[MailExchanger]:
        """RFC 5321 §5.1: by preference, equal ones at random."""
        self._of.shuffle(records)
        found: dict[str, MailExchanger] = {}
        for record in sorted(records, key=lambda record: record.preference):
            if not _HOST.fullmatch(record.host) or literal(record.host):
                self._skip(f"{record.host[:255]!r}, which an MX record names, is not the name of a host")
            elif len(found) < MAX_HOSTS:
                found.setdefault(record.host, record)
        return list(found.values())

    async def _look_up(self, group: list[_Host]) -> None:
        found = await asyncio.gather(*(self._addresses(host.name) for host in group))
        if any(self._is_ours(addresses, host.port) for host, addresses in zip(group, found, strict=True)):
            # RFC 5321 §5.1: what is not preferred to ourselves must not be tried, or mail would go round in circles.
            self._loops, self._groups = True, []
            return
        self._ready = [
            Exchanger(
                name=_with_brackets(host.name),
                port=host.port,
                addresses=addresses,
                allow_private=self._allow_private,
                mx_authentic=self._authentic,
            )
            for host, addresses in zip(group, found, strict=True)
            if addresses
        ]

    def _is_ours(self, addresses: tuple[str, ...], port: int) -> bool:
        own = self._of.own
        return own is not None and not self._fixed and any(own(address, port) for address in addresses)

    async def _addresses(self, name: str) -> tuple[str, ...]:
        given = _inside_brackets(name)
        found: tuple[str, ...] = (given,)
        if not given:
            try:
                answer = await self._of.resolver.addresses(name)
            except LookupFailed as error:
                self.unknown = True
                self._skip(error.text)
                return ()
            found = answer.records
            if not found:
                self._skip(f"{name} has no address" if answer.exists else f"{name} does not exist in DNS")
        checked: list[str] = []
        for address in dict.fromkeys(found):
            if words := refusal(address, allow_private=self._allow_private):
                self._skip(f"{name} has {address}, {words}, which is not connected to")
            elif len(checked) < MAX_ADDRESSES:
                checked.append(address)
        return tuple(checked)

    def _skip(self, words: str) -> None:
        if len(self.skipped) < MAX_HOSTS and words not in self.skipped:
            self.skipped.append(words)

    def _nothing(self) -> Unroutable:
        name = self._destination.name
        reasons = "; ".join(self.skipped)
        if self.unknown:
            return Unroutable(reasons, status="4.4.3", temporary=True)
        if self._fixed:
            # Waiting is right where the operator's own setting is at fault: nobody's mail is returned for it.
            return Unroutable(f"no host to give the mail to: {reasons}", status="4.3.5", temporary=True)
        if self._loops:
            return Unroutable(
                f"mail for {name} leads back to this server, which does not take it: {name} is not a domain of ours",
                status="5.4.6",
            )
        return Unroutable(f"{name} has no mail server that can be used: {reasons}")


def _inside_brackets(name: str) -> str:
    """The address of a literal of RFC 5321 §4.1.3, or of a host that is given as an address; "": it is a name."""
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
        if name[:5].lower() == "ipv6:":
            name = name[5:]
    return literal(name)


def _with_brackets(name: str) -> str:
    address = _inside_brackets(name)
    if not address:
        return name
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
