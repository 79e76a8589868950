"""Does a server's certificate chain match TLSA records (RFC 6698, RFC 7671, as RFC 7672 has it for SMTP)?

Python's TLS knows no DANE, so the handshake is made without verification and this is asked before any command is sent.
Usage 3 pins the server's own certificate or key: names and dates do not count (RFC 7671 §5.1). Usage 2 pins an
authority that must be in the chain, or whole in DNS: every link up to it is verified, with dates and names. Usages 0
and 1 mean nothing here (RFC 7672 §3.1.3). One record that matches is enough, so keys can roll over.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailserver.model.dns import Tlsa
from mailserver.outbound.names import common_name_as_fallback, fits

__all__ = ["DaneMismatch", "verify"]

_TRUST_ANCHOR, _END_ENTITY = 2, 3
_LONGEST_CHAIN = 10


class DaneMismatch(Exception):
    """The certificate is not what DNS says; `failure` is a result type of RFC 8460 §4.3.1."""

    def __init__(self, failure: str, text: str) -> None:
        super().__init__(text)
        self.failure = failure


def verify(chain: Sequence[bytes], records: Sequence[Tlsa], names: Sequence[str], now: datetime.datetime) -> None:
    """The chain (DER, the server's own first) matches one of the usable `records`.

    Args:
        chain: As the server sent it.
        records: See `wire.tlsa.usable`; at least one.
        names: Any of them may be in the certificate, for usage 2 (RFC 7672 §3.2.2).
        now: With its time zone.

    Raises:
        DaneMismatch.
    """
    if not chain:
        raise DaneMismatch("validation-failure", "the server has no certificate")
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain[:_LONGEST_CHAIN]]
        if any(record.usage == _END_ENTITY and _matches(certificates[0], record) for record in records):
            return
        anchors = [record for record in records if record.usage == _TRUST_ANCHOR]
        if not anchors:
            raise DaneMismatch("validation-failure", "the server's certificate matches no TLSA record")
        _to_anchor(certificates, anchors, now)
        if not fits(certificates[0], names) and not common_name_as_fallback(certificates[0], names):
            raise DaneMismatch("certificate-host-mismatch", f"the certificate is not for {' or '.join(names)}")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DaneMismatch("validation-failure", f"the server's certificate cannot be read: {error}") from None


def _matches(certificate: x509.Certificate, record: Tlsa) -> bool:
    if record.selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if record.matching == 1:
        octets = hashlib.sha256(octets).digest()
    elif record.matching == 2:
        octets = hashlib.sha512(octets).digest()
    return octets == record.data


def _to_anchor(chain: list[x509.Certificate], anchors: Sequence[Tlsa], now: datetime.datetime) -> None:
    """Walk from the server's certificate to its issuer and on, until one is an anchor."""
    others = chain[1:] + [found for record in anchors if (found := _whole(record)) is not None]
    current = chain[0]
    for depth in range(_LONGEST_CHAIN):
        if not current.not_valid_before_utc <= now <= current.not_valid_after_utc:
            raise DaneMismatch("certificate-expired", "a certificate of the server's chain is not valid now")
        if (depth or current.issuer == current.subject) and any(_matches(current, record) for record in anchors):
            return
        issuer = next((other for other in others if _issued(other, current)), None)
        if issuer is None:
            break
        others.remove(issuer)
        current = issuer
    raise DaneMismatch("certificate-not-trusted", "the server's certificate chain leads to no TLSA record")


def _whole(record: Tlsa) -> x509.Certificate | None:
    """An authority that stands in DNS itself, so that the server need not send it (RFC 7671 §5.2.2)."""
    if record.selector or record.matching:
        return None
    try:
        return x509.load_der_x509_certificate(record.data)
    except ValueError:
        return None


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        authority = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = issuer.version is x509.Version.v1
    if not authority:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
