"""Public keys from DNS (RFC 6376 §3.6.1, RFC 8301, RFC 8463), and the arithmetic with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from mailserver.mime.dkim.outcome import NEUTRAL, PERMERROR, POLICY, Outcome, Unverifiable
from mailserver.mime.dkim.tags import names_of, octets_of, read_tags

__all__ = ["WEAK_BITS", "PublicKey", "choose_key"]

#: RSA-4096 takes 750 octets.
_MAX_RECORD = 4096
#: Of several records of one name so many are looked at (RFC 6376 §6.1.2); there should be one.
_MOST_RECORDS = 4
#: RFC 8301 §3.2: shorter RSA keys prove nothing, and those below `WEAK_BITS` are on their way out.
_LEAST_BITS, WEAK_BITS = 1024, 2048
#: What one signature may cost: the time goes with the cube of the one, and with the length of the other.
_MOST_BITS, _MOST_EXPONENT_BITS = 4096, 32
_MAX_DER = 1024


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key record that may be used.

    Attributes:
        bits: of an RSA key; 0 for Ed25519.
        strict: t=s, the identity must be of the very domain.
        testing: t=y, failures mean nothing.
        problem: why no signature with this key is good, whatever the arithmetic says.
    """

    key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    bits: int = 0
    strict: bool = False
    testing: bool = False
    problem: Outcome | None = None

    @property
    def kind(self) -> str:
        """As in k= and a=."""
        return "rsa" if isinstance(self.key, rsa.RSAPublicKey) else "ed25519"

    def verifies(self, signature: bytes, octets: bytes) -> bool:
        """Is this the signature over `octets` (RFC 6376 §3.3.2, RFC 8463 §3)?"""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
            else:
                digest = hashes.Hash(hashes.SHA256())
                digest.update(octets)
                self.key.verify(signature, digest.finalize())
        except (InvalidSignature, InternalError, ValueError):
            return False
        return True


def choose_key(records: tuple[bytes, ...]) -> PublicKey:
    """The first key record that can be used.

    Raises:
        Unverifiable: there is none; what is wrong with the first.
    """
    problem: Outcome | None = None
    for record in records[:_MOST_RECORDS]:
        key = _read_key(record)
        if isinstance(key, PublicKey):
            return key
        problem = problem or key
    raise Unverifiable(*(problem or Outcome(PERMERROR, "DNS has no key of this name")))


@lru_cache(maxsize=1024)
def _read_key(record: bytes) -> PublicKey | Outcome:
    if len(record) > _MAX_RECORD:
        return Outcome(PERMERROR, "the key record is too large")
    tags = read_tags(record)
    if tags is None or tags.get(b"v", b"DKIM1") != b"DKIM1" or b"p" not in tags:
        return Outcome(PERMERROR, "the key record is not valid")
    if b"email" not in (services := names_of(tags.get(b"s", b"*"))) and b"*" not in services:
        return Outcome(PERMERROR, "the key is not for e-mail")
    if b"sha256" not in names_of(tags.get(b"h", b"sha256")):
        return Outcome(PERMERROR, "the key is not for SHA-256")
    if not tags[b"p"]:
        return Outcome(PERMERROR, "the key was revoked")
    flags = names_of(tags.get(b"t", b""))
    kind = tags.get(b"k", b"rsa").lower()
    if kind not in (b"rsa", b"ed25519"):
        return Outcome(NEUTRAL, "the kind of the key is not known here")
    key = _load(kind, octets_of(tags[b"p"], _MAX_DER))
    if key is None:
        return Outcome(PERMERROR, "the key in the key record is not valid")
    bits = key.key_size if isinstance(key, rsa.RSAPublicKey) else 0
    return PublicKey(key, bits, strict=b"s" in flags, testing=b"y" in flags, problem=_problem(key))


def _load(kind: bytes, octets: bytes | None) -> rsa.RSAPublicKey | ed25519.Ed25519PublicKey | None:
    if octets is None:
        return None
    try:
        if kind == b"ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        # SubjectPublicKeyInfo as everybody has it, or RSAPublicKey as RFC 6376 §3.6.1 says (its erratum 3017).
        key = serialization.load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm, InternalError):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None


def _problem(key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> Outcome | None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if key.key_size < _LEAST_BITS:
        return Outcome(POLICY, f"an RSA key of {key.key_size} bits proves nothing")
    if key.key_size > _MOST_BITS or key.public_numbers().e.bit_length() > _MOST_EXPONENT_BITS:
        return Outcome(POLICY, "the RSA key is larger than keys are here")
    return None
