"""TLS as a client: contexts, what is looked at after the handshake, what failures are called (RFC 8460 §4.3)."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Sequence

from cryptography import x509

from mailserver.model.errors import InvalidInput
from mailserver.model.tls_policy import TlsLevel, TlsPolicy
from mailserver.outbound.dane import DaneMismatch, verify
from mailserver.outbound.names import fits
from mailserver.wire.tlsa import usable

__all__ = ["ClientContexts", "TlsFailed", "check_certificate", "described", "failure_of"]

# Where no certificate is asked for, weak keys are better than none (RFC 7435 §3); without NULL and anonymous ciphers.
_ANY_CIPHER = "DEFAULT:!aNULL:!eNULL:@SECLEVEL=0"
_STRONG_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: OpenSSL's codes (x509_vfy.h) that are about dates.
_DATES = (9, 10, 13, 14)


class TlsFailed(Exception):
    """No TLS as the policy wants it. `failure` is RFC 8460's word, the text is for the log and for senders.

    `certificate`: the server's certificate was seen, and is the reason.
    """

    def __init__(self, failure: str, text: str, *, certificate: bool = True) -> None:
        super().__init__(text)
        self.failure = failure
        self.certificate = certificate


class ClientContexts:
    """Made once each: reading the system's authorities takes tens of milliseconds."""

    def __init__(self) -> None:
        self._made: dict[tuple[bool, str], ssl.SSLContext] = {}

    def get(self, policy: TlsPolicy, ca_file: str = "") -> ssl.SSLContext:
        """For VERIFIED: the system's authorities, or those of `ca_file` alone; else the handshake verifies nothing.

        Raises InvalidInput: `ca_file` cannot be used.
        """
        key = (policy.level is TlsLevel.VERIFIED, ca_file)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = _verifying(ca_file) if key[0] else _trusting()
        return found


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_ANY_CIPHER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _verifying(ca_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Names are looked at here afterwards: there may be several, and OpenSSL takes partial wildcards.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_STRONG_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    except OSError as error:
        raise InvalidInput(f"the certificates of {ca_file} cannot be used: {error}") from error
    return context


def check_certificate(tls: ssl.SSLObject, policy: TlsPolicy, host: str, domain: str) -> bool:
    """After the handshake, before any command: is this who the policy means? False: it did not ask.

    Raises TlsFailed.
    """
    now = datetime.datetime.now(datetime.UTC)
    if policy.level is TlsLevel.VERIFIED:
        names = policy.names or (host,)
        own = tls.getpeercert(binary_form=True)
        try:
            good = own is not None and fits(x509.load_der_x509_certificate(own), names)
        except ValueError as error:
            raise TlsFailed("validation-failure", f"the server's certificate cannot be read: {error}") from None
        if not good:
            raise TlsFailed("certificate-host-mismatch", f"the server's certificate is not for {' or '.join(names)}")
        return True
    records = usable(policy.tlsa) if policy.level is TlsLevel.DANE else ()
    if not records:
        return False  # RFC 7672 §2.2: nothing usable in DNS means TLS without a look at the certificate.
    try:
        verify(_chain(tls), records, policy.names or tuple(dict.fromkeys((host, domain))), now)
    except DaneMismatch as error:
        raise TlsFailed(error.failure, str(error)) from None
    return True


def _chain(tls: ssl.SSLObject) -> Sequence[bytes]:
    """The certificates as sent, in DER: public in Python 3.13, below it only in what `ssl` is made on."""
    source = tls if hasattr(tls, "get_unverified_chain") else tls._sslobj  # type: ignore[attr-defined]
    found = source.get_unverified_chain() or ()
    return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found]


def described(tls: ssl.SSLObject) -> str:
    """Version and cipher: "TLSv1.3 TLS_AES_256_GCM_SHA384"."""
    cipher = tls.cipher()
    return f"{tls.version()} {cipher[0] if cipher else ''}".rstrip()


def failure_of(error: OSError) -> TlsFailed:
    """What a handshake that failed is called."""
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = "certificate-expired" if error.verify_code in _DATES else "certificate-not-trusted"
        return TlsFailed(kind, f"the server's certificate is not trusted: {error.verify_message}")
    if isinstance(error, TimeoutError | ConnectionAbortedError):
        return TlsFailed("validation-failure", "the TLS handshake took too long", certificate=False)
    if isinstance(error, ssl.SSLError):
        text = f"the TLS handshake failed: {error.reason or 'the server closed it'}"
        return TlsFailed("validation-failure", text, certificate=False)
    text = "the server closed the connection in the TLS handshake"
    return TlsFailed("validation-failure", text, certificate=False)
