"""GETMETADATA and SETMETADATA (RFC 5464 §4), as values. The empty mailbox name means the server."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["EVERY_DEPTH", "GetMetadata", "SetMetadata"]

#: `DEPTH infinity`: deeper than any entry's name can be.
EVERY_DEPTH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMetadata:
    """RFC 5464 §4.2. `entries` as the client wrote them, each of them valid; `max_size` None without MAXSIZE."""

    mailbox: str
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class SetMetadata:
    """RFC 5464 §4.3. Entries in their one spelling, with what becomes of them; None takes one away."""

    mailbox: str
    values: dict[str, bytes | None] = field(repr=False)
