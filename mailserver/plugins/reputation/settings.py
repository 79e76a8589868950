"""Settings: `[plugins.reputation]` in config.toml."""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["ReputationSettings"]

_DAY = 86_400.0


class ReputationSettings(api.PluginSettings):
    """[plugins.reputation]"""

    half_life: api.Duration = Field(
        180 * _DAY,
        ge=_DAY,
        description="After this time what somebody did with a sender's mail counts half as much.",
    )
    forget: api.Duration = Field(
        730 * _DAY, ge=_DAY, description="Senders of whom nothing was heard for so long are forgotten."
    )
    max_size: api.Size = Field(
        128 << 20,
        ge=1 << 20,
        description="Size of what is remembered, on disk. Above it, first go those about whom nobody said anything.",
    )
