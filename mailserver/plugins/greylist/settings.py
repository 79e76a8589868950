"""Settings: `[plugins.greylist]` in config.toml."""

from __future__ import annotations

from pydantic import Field, model_validator

from mailserver import api

__all__ = ["GreylistSettings"]

_DAY = 86_400.0


class GreylistSettings(api.PluginSettings):
    """[plugins.greylist]"""

    points: float = Field(
        3.0, ge=0, le=100,
        description="Mail of an unknown sender whom nothing proves, and that has so many points when it comes, is asked"
        " to come again. 0: all such mail.",
    )
    below: float = Field(
        5.0, ge=0, le=100,
        description="With so many points it goes to Junk in any case, and need not come again. 0: it must.",
    )
    delay: api.Duration = Field(300.0, ge=1, le=_DAY, description="When it may come again.")
    window: api.Duration = Field(2 * _DAY, ge=600, description="Until when it must have come again.")
    remember: api.Duration = Field(
        60 * _DAY, ge=_DAY, description="Servers with their senders' domains are known so long after their last mail."
    )
    tarpit: api.Duration = Field(
        0.0, ge=0, le=30,
        description="How long such a client waits for the answer to its message. It keeps a connection of ours busy,"
        " too, and few give up for it. 0s: not at all.",
    )
    tarpits: int = Field(20, ge=1, le=1000, description="Clients that wait so at one time, at most.")

    @model_validator(mode="after")
    def _order(self) -> GreylistSettings:
        if self.window <= self.delay:
            raise ValueError("window must be longer than delay")
        if self.below and self.below <= self.points:
            raise ValueError("below must be more than points; 0 is no limit")
        return self
