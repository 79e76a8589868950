"""Networks as keys, and which of those that are banned an address belongs to. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from mailserver import api

__all__ = ["Ban", "BanTable", "Network", "narrow", "parse_network", "wide"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: One customer, and one site: what is banned at first, and what is when there are many of it.
_NARROW = {4: 32, 6: 64}
_WIDE = {4: 24, 6: 48}
#: Nobody bans more of the internet than this by a slip of the finger.
_WIDEST = {4: 8, 6: 16}


@dataclass(frozen=True, slots=True)
class Ban:
    """A network that is not listened to from `since` until `until` (epoch seconds). `times`: it is the third one within
    some weeks. `by`: the operator's own words of who did it, "" when the server did."""

    network: Network
    since: float
    until: float
    reason: str
    times: int = 1
    by: str = ""


@lru_cache(maxsize=4096)
def narrow(peer: str) -> Network | None:
    """The network of one customer: IPv4 /32, IPv6 /64. None for what is no IP address, and for this machine."""
    address = api.parse_ip(peer)
    return None if address is None or address.is_loopback else _around(address, _NARROW[address.version])


def wide(network: Network) -> Network:
    """The network of one site around it: IPv4 /24, IPv6 /48; itself if it is no smaller."""
    prefix = _WIDE[network.version]
    return network if network.prefixlen <= prefix else network.supernet(new_prefix=prefix)


def parse_network(text: str) -> Network:
    """What an operator wrote: an address (IPv6: its /64 is meant) or a network. Raises InvalidInput."""
    address = api.parse_ip(text)
    try:
        if "/" not in text and address is not None:
            network = _around(address, _NARROW[address.version])
        else:
            network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise api.InvalidInput(f"{text!r} is no network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/48") from None
    if network.is_loopback or network.overlaps(ipaddress.ip_network("127.0.0.0/8" if network.version == 4 else "::1")):
        raise api.InvalidInput("this machine itself is never banned")
    if network.prefixlen < _WIDEST[network.version]:
        raise api.InvalidInput(f"{network} is too much of the internet; name the networks that you mean")
    return network


def _around(address: _Address, prefix: int) -> Network:
    return ipaddress.ip_network(f"{address}/{prefix}", strict=False)


class BanTable:
    """Bans by network, past ones too. A look-up costs one dictionary for each length of prefix that is in use."""

    def __init__(self) -> None:
        self._by_length: dict[tuple[int, int], dict[int, Ban]] = {}

    def __iter__(self) -> Iterator[Ban]:
        for bans in self._by_length.values():
            yield from bans.values()

    def __len__(self) -> int:
        return sum(len(bans) for bans in self._by_length.values())

    def get(self, network: Network) -> Ban | None:
        """The ban of exactly this network, past or present."""
        return self._by_length.get((network.version, network.prefixlen), {}).get(int(network.network_address))

    def put(self, ban: Ban) -> None:
        """In place of an earlier one of the network."""
        network = ban.network
        self._by_length.setdefault((network.version, network.prefixlen), {})[int(network.network_address)] = ban

    def remove(self, network: Network) -> None:
        """Forget the network, if it is there."""
        key = network.version, network.prefixlen
        bans = self._by_length.get(key, {})
        bans.pop(int(network.network_address), None)
        if not bans:
            self._by_length.pop(key, None)

    def find(self, peer: str, now: float) -> Ban | None:
        """A ban that holds for an address now."""
        address = api.parse_ip(peer) if self._by_length else None
        if address is None:
            return None
        number, bits = int(address), address.max_prefixlen
        for (version, length), bans in self._by_length.items():
            if version == address.version:
                ban = bans.get(number >> (bits - length) << (bits - length))
                if ban is not None and ban.until > now:
                    return ban
        return None
