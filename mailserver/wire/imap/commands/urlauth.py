"""The commands of URLAUTH (RFC 4467 §7). URLs stay as they are written (§6)."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["GenUrlAuth", "ResetKey", "UrlFetch"]


@dataclass(frozen=True, slots=True)
class ResetKey:
    """Of one mailbox, or (None) of all. Mechanisms in capitals."""

    mailbox: str | None = None
    mechanisms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenUrlAuth:
    """Pairs of a URL and a mechanism in capitals."""

    urls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class UrlFetch:
    """Who has such a URL can read what it names."""

    urls: tuple[str, ...] = field(repr=False)
