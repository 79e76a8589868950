"""Settings: `[plugins.bans]` in config.toml."""

from __future__ import annotations

from pydantic import Field, model_validator

from mailserver import api

__all__ = ["BanSettings"]

_HOUR, _DAY = 3600.0, 86_400.0


class BanSettings(api.PluginSettings):
    """[plugins.bans]"""

    failed_logins: int = Field(
        20, ge=0,
        description="Wrong passwords within an hour, over all services, for which a network is banned; never one from"
        " where a user logged in within 60 days. 0: for none.",
    )
    unknown_recipients: int = Field(
        35, ge=0,
        description="Recipients within a day that do not exist, less those of messages that were accepted, for which a"
        " network is banned. 0: for none.",
    )
    misbehaviour: int = Field(
        20, ge=0,
        description="Connections within an hour that ended for nonsense (another protocol, too many errors or empty"
        " commands, speaking out of turn, sending too slowly), for which a network is banned. 0: for none.",
    )
    first: api.Duration = Field(
        900.0, ge=1, description="How long the first ban lasts; each further one lasts four times as long."
    )
    longest: api.Duration = Field(
        _DAY, ge=1,
        description="How long a ban lasts at most. Others may send from the same address: their server keeps what waits"
        " for a few days.",
    )
    remember: api.Duration = Field(
        30 * _DAY, ge=_HOUR, description="A ban that ended longer ago than this does not make the next one longer."
    )
    neighbours: int = Field(
        5, ge=0,
        description="When so many addresses of one network (IPv4 /24, IPv6 /48) are banned at once, all of it is."
        " 0: never.",
    )

    @model_validator(mode="after")
    def _order(self) -> BanSettings:
        if self.longest < self.first:
            raise ValueError("longest must not be shorter than first")
        return self
