"""Commands of extensions that are about the connection, as values (see `commands.py`)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Compress"]


@dataclass(frozen=True, slots=True)
class Compress:
    """RFC 4978 §3, with the one mechanism that there is, DEFLATE."""
