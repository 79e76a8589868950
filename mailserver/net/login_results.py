"""How a login ends, and what is said on the way; for every service alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from mailserver.wire.sasl import SaslError

__all__ = [
    "BLOCKED", "BUSY", "NEEDS_TLS", "WRONG", "LoginOk", "LoginRefused", "LoginResult", "SaslChallenge", "SaslExchange",
    "broken",
]  # fmt: skip

_CODES = {"5.7.8": 535, "5.7.11": 538, "5.5.4": 504, "5.5.2": 501, "5.7.0": 501}


@dataclass(frozen=True, slots=True)
class SaslChallenge:
    """Send this (in base64) and call `step` with the answer."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoginOk:
    """Logged in. The session calls `LoginService.register` before it awaits anything."""

    account: AccountId


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """Not logged in. `status` is 5.7.8 for wrong credentials, 5.5.2 for a broken exchange, 4.x.x when temporary."""

    text: str
    status: str = "5.7.8"
    temporary: bool = False

    @property
    def reply(self) -> Reply:
        """As SMTP says it (RFC 4954 §6)."""
        return Reply(454 if self.temporary else _CODES.get(self.status, 535), self.status, self.text)


LoginResult = LoginOk | LoginRefused
WRONG = LoginRefused("Authentication credentials invalid")
BUSY = LoginRefused("Temporary authentication failure", "4.7.0", temporary=True)
BLOCKED = LoginRefused("Too many failed logins, try again later", "4.7.0", temporary=True)
NEEDS_TLS = LoginRefused("Encryption is required to log in", "5.7.11")


class SaslExchange(Protocol):
    """One authentication. The first answer that is no SaslChallenge ends it; it can be dropped at any time."""

    async def step(self, response: bytes | None) -> SaslChallenge | LoginResult:
        """Take the client's octets, after base64; None at the start when there was no initial response."""
        ...


def broken(error: SaslError) -> LoginRefused:
    """The exchange is over by the client's fault."""
    return LoginRefused(error.text[:1].upper() + error.text[1:], error.status)

