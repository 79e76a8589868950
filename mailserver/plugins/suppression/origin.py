"""Does a bounce come from where the message went?

The mark in a message proves that the message was ours, but everybody who has seen it knows the mark: the other
recipients, the subscribers of a list. So a bounce only counts when it comes from the network of the server that took
the message, or from a host whose name is in the same organisation's domain and leads to its address and back.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailserver import api

__all__ = ["came_from"]

_NAMES = 5


async def came_from(peer: str, sent_host: str, sent_peer: str, resolver: api.Resolver) -> bool:
    """`peer` brought the bounce; `sent_host` (`sent_peer` by address) took the message."""
    if not peer or not sent_peer:
        return False
    # /26 of IPv4, /48 of IPv6.
    networks, others = api.network_keys(peer), api.network_keys(sent_peer)
    if networks and others and networks[1] == others[1]:
        return True
    try:
        for name in (await resolver.ptr(peer)).records[:_NAMES]:
            host = name.rstrip(".").lower()
            if _same_organisation(host, sent_host.rstrip(".").lower()) and not _is_generic(host, peer):
                return _is_of(peer, (await resolver.addresses(host)).records)
    except api.LookupFailed:
        return False
    return False


def _is_of(peer: str, addresses: Iterable[str]) -> bool:
    """However the addresses are written."""
    return api.parse_ip(peer) in [api.parse_ip(address) for address in addresses]


def _same_organisation(one: str, other: str) -> bool:
    """They share as much of their names as a domain that one can register has: two labels, three below co.uk and the
    like. Where that is more than was needed, a true bounce does not count, and that is the smaller harm."""
    shared: list[str] = []
    for a, b in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if a != b:
            break
        shared.append(a)
    if len(shared) < 2:
        return False
    return len(shared) > 2 or not (len(shared[0]) == 2 and len(shared[1]) <= 4)


def _is_generic(host: str, peer: str) -> bool:
    """A name that a provider gives to whoever has the address (`192-0-2-1.dynamic.isp.example`)."""
    octets = peer.split(".")
    return len(octets) == 4 and sum(octet in host for octet in octets) >= 3
