"""What DNS answers, as far as mail needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Answer", "MailExchanger", "Tlsa"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MailExchanger:
    """One MX record: `host` in lower case, A-labels, without the last dot; "" is the null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698 §2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """The records of a name. None at all is an answer too.

    `exists` is False for NXDOMAIN. `name` is where CNAMEs led. `authentic` is True only when a resolver that we trust
    (on this machine, or listed) says that DNSSEC proved this answer, its CNAMEs and its absence (the AD bit).
    `secure_owner` tells the same for the asked name itself: a secure CNAME may lead out of secure zones (RFC 7672
    §2.1.3).
    """

    records: tuple[T, ...]
    name: str
    exists: bool = True
    authentic: bool = False
    secure_owner: bool = False
