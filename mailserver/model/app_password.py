"""App passwords: further passwords of an account, one for each program, made here and at random.

26 letters and digits of base32 are 130 bits: nobody guesses them, with whatever hardware, so a slow hash would cost us
and not the thief. Salted SHA-256 it is, and a login takes microseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from mailserver.model.errors import InvalidInput

__all__ = ["PROTOCOLS", "AppPassword"]

#: What an app password may be limited to, as `hooks.contexts.Session.service` has it.
PROTOCOLS = ("imap", "submission")

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LENGTH, _GROUP = 26, 6
_SHAPE = re.compile(f"[{_ALPHABET}]{{{_LENGTH}}}")
_BETWEEN = str.maketrans("", "", " -")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPassword:
    """What is kept of one. `protocols` may use it, all if there are none; times in epoch seconds, 0 for never."""

    name: str
    salt: bytes = field(repr=False)
    hashed: bytes = field(repr=False)
    protocols: frozenset[str] = frozenset()
    created: float = 0.0
    last_used: float = 0.0

    @classmethod
    def make(cls, name: str, protocols: frozenset[str], created: float) -> tuple[AppPassword, str]:
        """A new one, and the secret, which is never seen again. Raises InvalidInput."""
        if not _NAME.fullmatch(name):
            raise InvalidInput("the name of an app password has 1 to 64 printable characters")
        if not protocols.issubset(PROTOCOLS):
            raise InvalidInput(f"an app password is for {' or '.join(PROTOCOLS)}")
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
        salt = secrets.token_bytes(16)
        shown = "-".join(secret[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))
        return cls(name=name, salt=salt, hashed=_hash(salt, secret), protocols=protocols, created=created), shown

    @staticmethod
    def secret_of(password: str) -> str | None:
        """What a user typed, without spaces and dashes and in small letters; None if it can be no app password."""
        secret = password.translate(_BETWEEN).lower() if len(password) <= 100 else ""
        return secret if _SHAPE.fullmatch(secret) else None

    def matches(self, secret: str) -> bool:
        """Whether it is the one (`secret_of` gave it)."""
        return hmac.compare_digest(_hash(self.salt, secret), self.hashed)


def _hash(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode("ascii")).digest()
