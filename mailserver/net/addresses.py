"""Where mail may go on a stranger's word: DNS of a domain that is not ours must not lead us into our own network.

The list is our own, after the IANA registries of special-purpose addresses (RFC 6890): what `ipaddress` calls private
or global differs between versions of Python. What is listed here is refused unless the operator allows private
addresses; the unspecified address and groups are refused in any case.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from mailserver.net.networks import parse_ip

__all__ = ["embedded_ipv4", "interleave", "literal", "refusal"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: What an address is, where nobody may send mail at all.
_NEVER = {
    "0.0.0.0/8": "an unspecified address",
    "224.0.0.0/4": "a multicast address",
    "240.0.0.0/4": "a reserved address",
    "::/128": "an unspecified address",
    "ff00::/8": "a multicast address",
}

#: What an address is, where strangers may not lead us; the narrower network comes first.
_PRIVATE = {
    "10.0.0.0/8": "a private address",
    "100.64.0.0/10": "a private address (of a provider's own network)",
    "127.0.0.0/8": "a loopback address",
    "169.254.0.0/16": "a link-local address",
    "172.16.0.0/12": "a private address",
    "192.0.0.0/24": "an address for protocols' own use",
    "192.0.2.0/24": "an address for documentation",
    "192.88.99.0/24": "a 6to4 address",
    "192.168.0.0/16": "a private address",
    "198.18.0.0/15": "an address for benchmarks",
    "198.51.100.0/24": "an address for documentation",
    "203.0.113.0/24": "an address for documentation",
    "::1/128": "a loopback address",
    "fc00::/7": "a private address",
    "fe80::/10": "a link-local address",
    "fec0::/10": "a private address (site-local)",
    "2001::/32": "a Teredo address",
    "2001::/23": "an address for protocols' own use",
    "2001:db8::/32": "an address for documentation",
    "2002::/16": "a 6to4 address",
    "3fff::/20": "an address for documentation",
}

#: The well-known prefix of translators (RFC 6052 §2.1): with DNS64 it stands before every IPv4 address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")

_Networks = list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]


def _of_version(version: int, table: dict[str, str]) -> _Networks:
    networks = [(ipaddress.ip_network(text), words) for text, words in table.items()]
    return [(network, words) for network, words in networks if network.version == version]


_NEVER_BY_VERSION = {version: _of_version(version, _NEVER) for version in (4, 6)}
_PRIVATE_BY_VERSION = {version: _of_version(version, _PRIVATE) for version in (4, 6)}


def literal(text: str) -> str:
    """The one spelling of an IP address without brackets or zone; an IPv4-mapped one is IPv4. "": not an address."""
    address = parse_ip(text)
    return "" if address is None else str(address)


def embedded_ipv4(address: IpAddress) -> ipaddress.IPv4Address | None:
    """The address that a translator connects to for us (NAT64)."""
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def refusal(address: str, *, allow_private: bool = False) -> str:
    """What is wrong with connecting to this IP literal, in words such as "a loopback address"; "" when it is fine.

    Anything that is not the plain literal of one address is refused: whoever connects must use what was looked at.
    """
    parsed = parse_ip(address)
    if parsed is None or str(parsed) != address:
        return "not an IP address in its usual form"
    translated = embedded_ipv4(parsed)
    if translated is not None:
        words = refusal(str(translated), allow_private=allow_private)
        return f"{words} behind a translator" if words else ""
    if words := _find(parsed, _NEVER_BY_VERSION):
        return words
    if allow_private:
        return ""
    if words := _find(parsed, _PRIVATE_BY_VERSION):
        return words
    if isinstance(parsed, ipaddress.IPv6Address) and parsed not in _UNICAST:
        return "not an address of the public network"
    return ""


def _find(address: IpAddress, tables: dict[int, _Networks]) -> str:
    return next((words for network, words in tables[address.version] if address in network), "")


def interleave(addresses: Iterable[str]) -> list[str]:
    """IPv6 and IPv4 in turn, IPv6 first, each family in the order given (RFC 8305 §4)."""
    families: dict[bool, list[str]] = {True: [], False: []}
    for address in addresses:
        families[":" in address].append(address)
    six, four = families[True], families[False]
    both = min(len(six), len(four))
    mixed = [address for pair in zip(six, four, strict=False) for address in pair]
    return [*mixed, *six[both:], *four[both:]]
