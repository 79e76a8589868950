"""The base of every settings class, and the types of their values.

Settings live in the package that they configure; `app/config.py` composes them. They are frozen, unknown keys are
errors, and each field has a description, which becomes its comment in config.toml.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

__all__ = ["Duration", "Settings", "Size", "format_duration", "format_size", "parse_size"]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class Settings(BaseModel):
    """Frozen; unknown keys are errors; strict, so that `"yes"` is not a boolean; values are not shown in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True,
    validate_default=True)


def _parse_duration(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w)", value, re.ASCII)
        if match:
            return float(match[1]) * _UNITS[match[2]]
    raise ValueError('a duration is a number with a unit: "500ms", "30s", "5m", "2h", "5d", "1w"')


def format_duration(seconds: float) -> str:
    """The shortest exact spelling: `300.0` → `"5m"`."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{int(seconds // _UNITS[unit])}{unit}"
    return f"{seconds * 1000:g}ms" if seconds % 1 else f"{int(seconds)}s"


def parse_size(value: Any) -> int:
    """Octets of a number or of a text such as "2GiB". Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB|TiB|)", value, re.ASCII)
        if match:
            return int(match[1]) * _SIZES[match[2]]
    raise ValueError('a size is a number of octets, or with a unit: "64KiB", "50MiB", "2GiB"')


def format_size(octets: int) -> str:
    """The shortest exact spelling: `52428800` → `"50MiB"`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if octets >= _SIZES[unit] and octets % _SIZES[unit] == 0:
            return f"{octets // _SIZES[unit]}{unit}"
    return f"{octets}B"


#: Seconds, written as "30s", "5m", …
Duration = Annotated[float, BeforeValidator(_parse_duration), PlainSerializer(format_duration)]
#: Octets, written as "64KiB", "50MiB", …
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size)]
