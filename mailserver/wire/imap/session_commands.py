"""Commands of extensions that are about the connection, as values (see `commands.py`)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Compress", "GetJmapAccess", "Language", "Unauthenticate"]


@dataclass(frozen=True, slots=True)
class Compress:
    """RFC 4978 §3, with the one mechanism that there is, DEFLATE."""


@dataclass(frozen=True, slots=True)
class GetJmapAccess:
    """RFC 9698 §4."""


@dataclass(frozen=True, slots=True)
class Language:
    """RFC 5255 §3.2: language ranges in the order of preference; none asks which languages there are."""

    ranges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unauthenticate:
    """RFC 8437 §3."""
