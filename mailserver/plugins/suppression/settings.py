"""Settings: `[plugins.suppression]` in config.toml."""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["SuppressionSettings"]

_DAY = 86_400.0


class SuppressionSettings(api.PluginSettings):
    """[plugins.suppression]"""

    first: api.Duration = Field(
        7 * _DAY,
        gt=0,
        description="How long an account's mail to an address is refused after a server said that there is no such"
        " mailbox. Servers are wrong at times, so the first time is short.",
    )
    again: api.Duration = Field(
        90 * _DAY,
        gt=0,
        description="How long it is refused when the same happens once more.",
    )
    most: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Addresses on the list of one account; above it, the oldest ones are taken off.",
    )
    remember: api.Duration = Field(
        14 * _DAY,
        gt=0,
        description="How long to remember where a message went, so that a bounce that comes later is recognised.",
    )
