"""What an account wants answered. A value."""

from __future__ import annotations

from dataclasses import dataclass

from mailserver import api

__all__ = ["Vacation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacation:
    """Answer from `starts` until `ends` (epoch seconds; 0: at once, for good) with this text.

    `subject` is "" for "Auto: " and that of the message; `days`: between two answers to one sender. `addresses` are
    keys of further addresses that mean this account; `since`: when it was set.
    """

    account: api.AccountId
    since: float
    text: str
    subject: str = ""
    starts: float = 0.0
    ends: float = 0.0
    days: int = 7
    addresses: tuple[str, ...] = ()

    def covers(self, now: float) -> bool:
        """Is the account's owner away at this moment?"""
        return self.starts <= now and (not self.ends or now < self.ends)
