"""Signs messages as RFC 6376 says to somebody who reads it line by line and has all the time in the world: a second
opinion on what the server verifies. Also signs what no honest signer would."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

__all__ = ["Signer", "canonical_body", "canonical_field", "seal", "signer", "small_rsa"]

_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def canonical_body(body: bytes, *, relaxed: bool) -> bytes:
    """RFC 6376 §3.4.3, §3.4.4."""
    lines = body.split(b"\r\n")
    if relaxed:
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines) or (b"" if relaxed else b"\r\n")


def canonical_field(field: bytes, *, relaxed: bool) -> bytes:
    """RFC 6376 §3.4.1, §3.4.2; `field` has its line end."""
    if not relaxed:
        return field
    name, _, value = field.partition(b":")
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" ")
    return name.lower().rstrip(b" \t") + b":" + value + b"\r\n"


def split(message: bytes) -> tuple[list[bytes], bytes]:
    """The fields with their line ends, and the body."""
    head, _, body = message.partition(b"\r\n\r\n")
    return re.findall(rb"[^\r\n][^\n]*\n(?:[ \t][^\n]*\n)*", head + b"\r\n"), body


@dataclass(frozen=True)
class Signer:
    """A domain with a key. `record` is the text of its TXT record at `name`."""

    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | tuple[int, int]
    domain: str = "signer.test"
    selector: str = "s"

    @property
    def name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def kind(self) -> str:
        return "ed25519" if isinstance(self.key, ed25519.Ed25519PrivateKey) else "rsa"

    @property
    def public(self) -> bytes:
        """As in p=."""
        if isinstance(self.key, tuple):
            public = rsa.RSAPublicNumbers(65537, self.key[0]).public_key()
        elif isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.public_key().public_bytes_raw()
        else:
            public = self.key.public_key()
        return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def record(self) -> str:
        return f"v=DKIM1; k={self.kind}; p={base64.b64encode(self.public).decode()}"

    def octets(self, covered: bytes) -> bytes:
        """The signature over `covered`."""
        if isinstance(self.key, tuple):
            size = (self.key[0].bit_length() + 7) // 8
            info = _SHA256_INFO + hashlib.sha256(covered).digest()
            padded = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
            return pow(int.from_bytes(padded, "big"), self.key[1], self.key[0]).to_bytes(size, "big")
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(hashlib.sha256(covered).digest())
        return self.key.sign(covered, padding.PKCS1v15(), hashes.SHA256())

    def sign(
        self, message: bytes, *, c: str = "relaxed/relaxed", h: Sequence[str] = ("from", "to", "subject", "date"),
        tags: Sequence[str] = (), drop: Sequence[str] = (), limit: int | None = None, algorithm: str = "",
        name: bytes = b"DKIM-Signature", fold: bytes = b"\r\n ", last: str = "",
    ) -> bytes:  # fmt: skip
        """The message with one more signature on top. `tags` replace those of their name, or are added; those of the
        names `drop` are left out; `last` stands behind b=."""
        fields, body = split(message)
        relaxed_header, _, relaxed_body = c.partition("/")
        canonical = canonical_body(body, relaxed=relaxed_body == "relaxed")
        if limit is not None:
            canonical = canonical[:limit]
        bh = base64.b64encode(hashlib.sha256(canonical).digest()).decode()
        given = {
            "v": "1", "a": algorithm or f"{self.kind}-sha256", "c": c, "d": self.domain, "s": self.selector,
            "h": ":".join(h), "bh": bh,
        }  # fmt: skip
        if limit is not None:
            given["l"] = str(limit)
        given |= dict(tag.split("=", 1) for tag in tags)
        text = ";".join(f" {tag}={value}" for tag, value in given.items() if tag not in drop)
        relaxed = relaxed_header == "relaxed"
        covered = b""
        left = list(fields)
        for wanted in h:
            for place in reversed(range(len(left))):
                if left[place].partition(b":")[0].strip(b" \t").lower() == wanted.strip().lower().encode():
                    covered += canonical_field(left.pop(place), relaxed=relaxed)
                    break
        unsigned = name + b":" + text.encode() + b";" + fold + b"b=" + last.encode()
        covered += canonical_field(unsigned + b"\r\n", relaxed=relaxed).removesuffix(b"\r\n")
        b = base64.b64encode(self.octets(covered))
        folded = fold.join(b[start : start + 60] for start in range(0, len(b), 60))
        return name + b":" + text.encode() + b";" + fold + b"b=" + folded + last.encode() + b"\r\n" + message


def seal(
    message: bytes, by: Signer, instance: int, *, cv: str = "", results: str = "dmarc=pass header.from=signer.test",
    h: Sequence[str] = ("from", "to", "subject", "date"), c: str = "relaxed/relaxed", seal_tags: Sequence[str] = (),
) -> bytes:  # fmt: skip
    """The message with one more ARC Set (RFC 8617 §5.1) on top of those it has."""
    own = f"ARC-Authentication-Results: i={instance}; {by.domain}; {results}\r\n".encode()
    signed = by.sign(message, c=c, h=h, tags=[f"i={instance}"], drop=["v"], name=b"ARC-Message-Signature")
    own_signature = signed.removesuffix(message)
    tags = [f"i={instance}", f"a={by.kind}-sha256", f"cv={cv or ('none' if instance == 1 else 'pass')}",
            f"d={by.domain}", f"s={by.selector}", *seal_tags]  # fmt: skip
    unsigned = f"ARC-Seal: {'; '.join(tags)}; b=".encode()
    parts = _chain(message) if cv != "fail" else []
    covered = b"".join(canonical_field(field, relaxed=True) for field in (*parts, own, own_signature))
    covered += canonical_field(unsigned + b"\r\n", relaxed=True).removesuffix(b"\r\n")
    return unsigned + base64.b64encode(by.octets(covered)) + b"\r\n" + own_signature + own + message


def _chain(message: bytes) -> list[bytes]:
    """The fields of the sets that are there, as seals cover them."""
    order = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")
    found = []
    for field in split(message)[0]:
        name, _, value = field.partition(b":")
        if name.lower() in order:
            instance = re.search(rb"(?:^|;)\s*i=(\d+)", value)
            assert instance is not None
            found.append((int(instance[1]), order.index(name.lower()), field))
    return [field for _, _, field in sorted(found)]


@lru_cache
def signer(kind: str = "rsa", bits: int = 2048, domain: str = "signer.test", selector: str = "s") -> Signer:
    """One with a new key, the same for the whole run."""
    if kind == "ed25519":
        return Signer(ed25519.Ed25519PrivateKey.generate(), domain, selector)
    return Signer(_rsa(bits), domain, selector)


@lru_cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@lru_cache
def small_rsa(bits: int) -> Signer:
    """One whose RSA key is so short that libraries refuse to make it."""
    chance = random.Random(bits)
    while True:
        p, q = _prime(chance, bits // 2), _prime(chance, bits - bits // 2)
        if p != q and (p * q).bit_length() == bits and (p - 1) * (q - 1) % 65537:
            return Signer((p * q, pow(65537, -1, (p - 1) * (q - 1))))


def _prime(chance: random.Random, bits: int) -> int:
    while True:
        number = chance.getrandbits(bits) | (3 << bits - 2) | 1
        if all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7)):
            return number
