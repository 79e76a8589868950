"""Checking passwords, and who failed at it too often: what plugins may ask of the server."""

from __future__ import annotations

from typing import Protocol

from mailserver.model.ids import AccountId
from mailserver.model.password import ScramVerifier

__all__ = ["FailedLogins", "PasswordVerifier"]


class PasswordVerifier(Protocol):
    """Argon2id off the loop, with a bound on how much of it runs at once (`net/passwords.py`).

    What computes a hash raises LimitReached (temporary) when too many wait already.
    """

    async def verify(self, account: AccountId, stored: str, password: str) -> bool:
        """Whether `password` is the one of `stored` (an argon2id string; "" is never right, at the same cost)."""
        ...

    def outdated(self, stored: str) -> bool:
        """Whether an argon2id string costs those who steal it less than one that is made today."""
        ...

    async def hash(self, password: str) -> tuple[str, ScramVerifier | None]:
        """What is to be kept of a password. Raises InvalidInput for what can be none."""
        ...

    async def verify_nobody(self, password: str) -> None:
        """Spend what `verify` spends, for a user who does not exist."""
        ...


class FailedLogins(Protocol):
    """Failed logins of all services, counted together (`net/failures.py`)."""

    def blocked(self, peer: str) -> bool:
        """True while the network of this IP address has failed too often; never for a trusted one."""
        ...

    def remember(self, peer: str, user: str) -> None:
        """A user (an account's key) has logged in from this IP address's network before: others' guesses at the account
        keep nobody out there."""
        ...

    def logged_in(self, peer: str) -> bool:
        """Is a user of ours logged in at this moment from the network (IPv4 /32, IPv6 /64) of this IP address?"""
        ...
