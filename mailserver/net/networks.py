"""Sets of IP networks, the one way in which a peer's address is read, and which names are no addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from mailserver.model.address import normalize_domain
from mailserver.model.errors import InvalidInput

__all__ = ["NetworkSet", "parse_ip", "public_domain"]

_CACHE_SIZE = 4096


@lru_cache(_CACHE_SIZE)
def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address without its zone; an IPv4-mapped one is IPv4, on every Python version alike. None: not an address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def public_domain(text: str) -> str:
    """A domain, normalized, of which the world's DNS may tell something; "": an address, or a name of a local network.
    """
    if text.startswith("[") or "." not in text or parse_ip(text) is not None:
        return ""
    try:
        return normalize_domain(text)
    except InvalidInput:
        return ""


class NetworkSet:
    """Is an address in one of these networks? Answers are remembered, for a bounded number of peers."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._known: dict[str, bool] = {}

    def __contains__(self, peer: object) -> bool:
        if not isinstance(peer, str) or not self._networks:
            return False
        known = self._known.get(peer)
        if known is None:
            address = parse_ip(peer)
            known = address is not None and any(
                address in network for network in self._networks if network.version == address.version
            )
            if len(self._known) >= _CACHE_SIZE:
                self._known.clear()
            self._known[peer] = known
        return known
