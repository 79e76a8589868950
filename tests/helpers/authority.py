"""Certificates of every kind that a client may meet: chains, wrong dates, wrong names."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailserver.model.dns import Tlsa

__all__ = ["Issued", "issue", "tlsa"]

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and those above it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()
    names: tuple[str, ...] = field(default=())

    def server_context(self, directory: Path, *, whole: bool = True) -> ssl.SSLContext:
        """Shows the chain (the server's own first); the root only if `whole`."""
        chain = (self.certificate, *(self.above if whole else self.above[:-1]))
        file = directory / f"{self.certificate.serial_number:x}.pem"
        secret = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The key first: Postfix wants it so.
        file.write_bytes(secret + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def write_ca(self, directory: Path) -> str:
        """This certificate as a file of authorities."""
        file = directory / f"ca-{self.certificate.serial_number:x}.pem"
        file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return str(file)


def issue(
    *names: str, by: Issued | None = None, authority: bool = False, expired: bool = False, common_name: str = "",
) -> Issued:  # fmt: skip
    """A certificate for DNS names and [addresses]; without `by` it is self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    shown = common_name or ("An authority" if authority else "a server")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{shown}")])
    if authority:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{shown} {x509.random_serial_number():x}"[:60])])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * _DAY)
        .not_valid_after(now + (-_DAY if expired else 30 * _DAY))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    return Issued(certificate, key, (by.certificate, *by.above) if by else (), names)


def tlsa(certificate: x509.Certificate, usage: int, selector: int, matching: int) -> Tlsa:
    """The record that pins it."""
    encoding = serialization.Encoding.DER
    data = certificate.public_bytes(encoding) if selector == 0 else certificate.public_key().public_bytes(
        encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    if matching:
        data = (hashlib.sha256 if matching == 1 else hashlib.sha512)(data).digest()
    return Tlsa(usage, selector, matching, data)
