"""Arguments of operations, with words for the operator when they are of the wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["text", "texts"]


def text(arguments: Mapping[str, Any], name: str) -> str:
    """"" when it is not given. Raises ValueError."""
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    return value


def texts(arguments: Mapping[str, Any], name: str) -> list[str]:
    """Empty when it is not given. Raises ValueError."""
    value = arguments.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of texts")
    return value
