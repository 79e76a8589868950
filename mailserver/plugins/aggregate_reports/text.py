"""What others have said, and the names that they have."""

from __future__ import annotations

__all__ = ["clean", "related"]

_LONGEST = 255


def clean(text: str, most: int = _LONGEST) -> str:
    """On one short printable line."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


def related(one: str, other: str) -> bool:
    """Whether one domain is the other, or in it."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
