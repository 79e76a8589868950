"""AUTH from the client's side (RFC 4954): SCRAM-SHA-256 (RFC 5802, RFC 7677), PLAIN (RFC 4616), LOGIN.

Only ever used over TLS that was verified: whoever calls this looks to that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection
from typing import Protocol

from mailserver.wire.saslprep import saslprep

__all__ = ["AuthFailed", "Mechanism", "choose"]

_FIRST = re.compile(rb"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([0-9]{1,9})(?:,.*)?")
_FINAL = re.compile(rb"v=([A-Za-z0-9+/=]+)(?:,.*)?")
#: Fewer prove little (RFC 7677 §4); more are a trap for our processor.
_LEAST_ROUNDS, _MOST_ROUNDS = 4096, 2_000_000
_LONGEST_CHALLENGE = 4096


class AuthFailed(Exception):
    """The server's part is wrong; the text says how."""


class Mechanism(Protocol):
    """One exchange. `first` is the initial response, None where the server speaks first. `slow`: not for a loop."""

    name: str
    first: bytes | None
    slow: bool

    def answer(self, challenge: bytes) -> bytes:
        """To one challenge. Raises AuthFailed."""
        ...

    def finish(self) -> None:
        """The server says that all is well. Raises AuthFailed: it has not proved that it knows the password."""
        ...


class _Plain:
    name, slow = "PLAIN", False

    def __init__(self, user: str, password: str) -> None:
        self.first: bytes | None = f"\0{user}\0{password}".encode()

    def answer(self, challenge: bytes) -> bytes:
        raise AuthFailed("it asks on after PLAIN was answered")

    def finish(self) -> None:
        pass


class _Login:
    name, slow = "LOGIN", False

    def __init__(self, user: str, password: str) -> None:
        self.first: bytes | None = None
        self._answers = [password.encode(), user.encode()]

    def answer(self, challenge: bytes) -> bytes:
        """User and password in this order, whatever the prompts say."""
        if not self._answers:
            raise AuthFailed("it asks on after LOGIN was answered")
        return self._answers.pop()

    def finish(self) -> None:
        pass


class _Scram:
    name, slow = "SCRAM-SHA-256", True

    def __init__(self, user: str, password: str, nonce: str) -> None:
        name = user.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={nonce}".encode()
        self._nonce = nonce.encode()
        self._password = saslprep(password).encode()
        self._signature = b""
        self._proved = False
        self.first: bytes | None = b"n,," + self._bare

    def answer(self, challenge: bytes) -> bytes:
        if self._signature:
            return self._check(challenge)
        match = _FIRST.fullmatch(challenge) if len(challenge) <= _LONGEST_CHALLENGE else None
        if match is None or not match[1].startswith(self._nonce) or match[1] == self._nonce:
            raise AuthFailed("its part of SCRAM is not well-formed")
        rounds = int(match[3])
        if not _LEAST_ROUNDS <= rounds <= _MOST_ROUNDS:
            raise AuthFailed(f"it wants {rounds} rounds of SCRAM")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, decode(match[2]), rounds)
        final = b"c=biws,r=" + match[1]
        signed = b",".join((self._bare, challenge, final))
        key = hmac.digest(salted, b"Client Key", "sha256")
        proof = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return final + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, proof, strict=True)))

    def _check(self, challenge: bytes) -> bytes:
        match = _FINAL.fullmatch(challenge) if len(challenge) <= _LONGEST_CHALLENGE else None
        if match is None or not hmac.compare_digest(decode(match[1]), self._signature):
            raise AuthFailed("it does not know the password itself")
        self._proved = True
        return b""

    def finish(self) -> None:
        if not self._proved:
            raise AuthFailed("it has not proved that it knows the password itself")


def decode(text: bytes) -> bytes:
    """Base64 of a challenge. Raises AuthFailed."""
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except (binascii.Error, ValueError):
        raise AuthFailed("its challenge is not base64") from None


def choose(offered: Collection[str], user: str, password: str, nonce: str) -> Mechanism | None:
    """The best of what is offered; None: nothing that we know. `nonce` is fresh random printable ASCII."""
    if "SCRAM-SHA-256" in offered:
        return _Scram(user, password, nonce)
    if "PLAIN" in offered:
        return _Plain(user, password)
    return _Login(user, password) if "LOGIN" in offered else None
