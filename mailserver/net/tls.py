"""TLS contexts: one per listener, certificates that can be swapped while they serve, a self-signed one to start."""

from __future__ import annotations

import asyncio.sslproto
import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from mailserver.model.errors import InvalidInput
from mailserver.net.settings import TlsSettings

__all__ = [
    "TlsContexts", "certificate_addresses", "check_certificate", "end_point", "is_foreign", "shrink_asyncio_buffers",
]  # fmt: skip

# RFC 9325 §4.2: forward secrecy and AEAD; TLS 1.3 has its own list.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_SMALLEST_RSA = 2048
_SELF_SIGNED_DAYS = 825
_ASYNCIO_BUFFER = 16384
#: The listeners where users log in.
_FOR_USERS = ("imap", "imaps", "submission", "submissions")
_MOST_NAMES = 100
# RFC 7301's registry, as far as anyone would send it to a mail server by mistake or malice.
_KNOWN_PROTOCOLS = (
    "h2", "http/1.1", "http/1.0", "h3", "imap", "pop3", "smtp", "managesieve", "ftp", "xmpp-client", "acme-tls/1",
)  # fmt: skip


def shrink_asyncio_buffers() -> None:
    """Let the standard library's TLS keep 16 KiB per connection for reading, not 256 KiB (uvloop has its own TLS).

    A private attribute: a test fails when it is gone.
    """
    asyncio.sslproto.SSLProtocol.max_size = _ASYNCIO_BUFFER


class _Context(ssl.SSLContext):
    """A server context that also accepts protocols by ALPN which it does not speak, to know them afterwards.

    OpenSSL as Python uses it goes on without ALPN when nothing fits, and does not tell what the client wanted.
    """

    foreign: frozenset[str] = frozenset()
    end_point: bytes = b""


def is_foreign(connection: object) -> bool:
    """Did the client of this TLS connection (its `ssl_object`) ask for another protocol than ours (ATTACKS C08)?"""
    context = getattr(connection, "context", None)
    chosen = connection.selected_alpn_protocol() if isinstance(connection, ssl.SSLObject | ssl.SSLSocket) else None
    return isinstance(context, _Context) and chosen in context.foreign


def certificate_addresses(tls: ssl.SSLObject | None) -> tuple[str, ...]:
    """The e-mail addresses (RFC 5280 §4.2.1.6 rfc822Name) of the client's certificate, which the handshake checked."""
    shown = tls.getpeercert() if tls is not None else None
    names = shown.get("subjectAltName", ()) if shown else ()
    return tuple(name[1] for name in names if isinstance(name, tuple) and name[0] == "email")[:_MOST_NAMES]


def end_point(tls: ssl.SSLObject | None) -> bytes:
    """tls-server-end-point (RFC 5929 §4.1) of a connection: the hash of our certificate; b"" where there is none."""
    context = getattr(tls, "context", None)
    return context.end_point if isinstance(context, _Context) else b""


def _end_point(certificate: Path) -> bytes:
    """The hash is the one of the certificate's signature, SHA-256 in place of what is broken; Ed25519 has none."""
    shown = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    algorithm = shown.signature_hash_algorithm
    if algorithm is None:
        return b""
    broken = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
    return shown.fingerprint(hashes.SHA256() if broken else algorithm)


class TlsContexts:
    """Makes and keeps the server's contexts. Relative paths in the settings were resolved before."""

    def __init__(self, settings: TlsSettings, data_dir: Path, hostname: str) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._hostname = hostname
        self._contexts: dict[str, _Context] = {}
        shrink_asyncio_buffers()

    def context(self, listener_name: str, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """The context of one listener, made on first use.

        Each has its own ticket keys and session id, so that a session of one service is never resumed on another
        (ATTACKS C09). With `alpn`, a client that asks for other protocols only is found by `is_foreign` (ALPACA).

        Raises:
            InvalidInput: certificate or key cannot be read or do not fit together.
        """
        found = self._contexts.get(listener_name)
        if found is None:
            found = self._contexts[listener_name] = self._make(alpn)
            if self._settings.client_ca_file and listener_name in _FOR_USERS:
                self._ask_for_certificates(found)
        return found

    def _ask_for_certificates(self, context: ssl.SSLContext) -> None:
        """Clients may show a certificate; one that is not good ends the handshake."""
        path = self._settings.client_ca_file
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"the certificates of tls.client_ca_file, {path}, cannot be used: {error}") from error
        context.verify_mode = ssl.CERT_OPTIONAL

    def reload(self, settings: TlsSettings | None = None) -> None:
        """Read the certificate anew, by other `settings` if given: new handshakes use it.

        Raises:
            InvalidInput: the old one stays in use.
        """
        before, self._settings = self._settings, settings or self._settings
        try:
            cert, key = self._files()
            # Everything that can be wrong with the files is found here, before a live context is touched.
            self._make(())
        except InvalidInput:
            self._settings = before
            raise
        for name, context in self._contexts.items():
            context.load_cert_chain(cert, key)
            context.end_point = _end_point(cert)
            context.verify_mode = ssl.CERT_NONE
            if self._settings.client_ca_file and name in _FOR_USERS:
                self._ask_for_certificates(context)

    def _make(self, alpn: Sequence[str]) -> _Context:
        cert, key = self._files()
        check_certificate(cert)
        context = _Context(ssl.PROTOCOL_TLS_SERVER)
        context.end_point = _end_point(cert)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= (
            ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE
        )
        # Session ids are not cached: tickets do that without memory of ours.
        with contextlib.suppress(AttributeError):
            context.num_tickets = 1
        if alpn:
            foreign = [name for name in _KNOWN_PROTOCOLS if name not in alpn]
            context.foreign = frozenset(foreign)
            context.set_alpn_protocols([*alpn, *foreign])
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"the TLS certificate {cert} and key {key} cannot be used: {error}") from error
        return context

    def _files(self) -> tuple[Path, Path]:
        if self._settings.cert_file or self._settings.key_file:
            return Path(self._settings.cert_file), Path(self._settings.key_file or self._settings.cert_file)
        folder = self._data_dir / ".server" / "tls"
        cert, key = folder / "self-signed.crt", folder / "self-signed.key"
        if not cert.exists() or not key.exists():
            _make_self_signed(cert, key, self._hostname)
        return cert, key


def check_certificate(path: Path) -> list[str]:
    """Look at a certificate chain; returns warnings. Raises InvalidInput for what must not be served."""
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the TLS certificate {path} cannot be read: {error}") from error
    warnings = []
    key = chain[0].public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            raise InvalidInput(f"the TLS certificate {path} has an RSA key of {key.key_size} bits; use ECDSA P-256")
        if key.key_size < 3072:
            warnings.append(f"{path}: RSA keys below 3072 bits are being phased out; use ECDSA P-256")
    now = datetime.datetime.now(datetime.UTC)
    if chain[0].not_valid_after_utc < now:
        warnings.append(f"{path}: the certificate expired on {chain[0].not_valid_after_utc:%Y-%m-%d}")
    elif chain[0].not_valid_before_utc > now:
        warnings.append(f"{path}: the certificate is not valid yet")
    return warnings


def _make_self_signed(cert: Path, key: Path, hostname: str) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName(host) for host in dict.fromkeys((hostname, "localhost")) if host.isascii()
    ]
    names += [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.IPAddress(ipaddress.ip_address("::1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    cert.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The key first: a certificate without its key would be taken for a finished pair.
    _write(key, secret)
    _write(cert, certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(path.suffix + ".tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    temporary.rename(path)
