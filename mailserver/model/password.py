"""What is kept of a password."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ScramVerifier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramVerifier:
    """What SCRAM-SHA-256 needs of a password (RFC 5802 §3, RFC 7677); none of it is the password."""

    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
