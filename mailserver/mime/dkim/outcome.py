"""What a signature is worth, in the words of RFC 8601 §2.7.1."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FAIL", "NEUTRAL", "PASS", "PERMERROR", "POLICY", "TEMPERROR", "Outcome", "Unverifiable"]

PASS, FAIL, POLICY, NEUTRAL = "pass", "fail", "policy", "neutral"
TEMPERROR, PERMERROR = "temperror", "permerror"


class Outcome(NamedTuple):
    """A result, and why in words for a person."""

    result: str
    reason: str = ""


class Unverifiable(Exception):
    """A signature that proves nothing. Raised and caught within this package; who asks for results never sees it."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = Outcome(result, reason)
