"""Is a certificate for this host? RFC 9525 §6.3, which RFC 8461 §4.1 and RFC 7672 §3.2.3 come down to as well."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

__all__ = ["common_name_as_fallback", "fits", "name_fits"]

_MOST_NAMES = 1000


def name_fits(presented: str, name: str) -> bool:
    """Equal, or `*.` and exactly one label more."""
    presented, name = presented.lower().rstrip("."), name.lower().rstrip(".")
    if not presented.startswith("*."):
        return presented == name and presented != ""
    label, _, rest = name.partition(".")
    return label != "" and rest == presented[2:] and "." in rest and "*" not in rest


def fits(certificate: x509.Certificate, names: Iterable[str]) -> bool:
    """One of the subjectAltNames is one of `names`, or of the addresses among them. Raises ValueError: unreadable."""
    presented, addresses = _presented(certificate)
    for name in names:
        inner = name[1:-1].removeprefix("IPv6:") if name.startswith("[") else name
        try:
            if ipaddress.ip_address(inner) in addresses:
                return True
        except ValueError:
            if any(name_fits(other, name) for other in presented):
                return True
    return False


def common_name_as_fallback(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    """For DANE only: the common name counts where there is no DNS name at all (RFC 7672 §3.2.3)."""
    if _presented(certificate)[0]:
        return False
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return any(name_fits(str(attribute.value), name) for attribute in found for name in names)


def _presented(
    certificate: x509.Certificate,
) -> tuple[list[str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    addresses = [
        address for address in found.get_values_for_type(x509.IPAddress)
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]  # fmt: skip
    return found.get_values_for_type(x509.DNSName)[:_MOST_NAMES], addresses
