"""Settings: `[plugins.dnsbl]` in config.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mailserver import api
from mailserver.plugins.dnsbl.codes import check_pattern

__all__ = ["DnsList", "DnsblSettings"]


class DnsList(api.Settings):
    """One list."""

    zone: str = Field(min_length=1, description="The name below which it is asked, such as zen.spamhaus.org.")
    of: Literal["addresses", "domains"] = Field(
        "addresses", description="What it lists: addresses of servers, or domains of senders and links."
    )
    points: float = Field(2.0, ge=-10, le=10, description="Points for whoever is on it; below zero on a white list.")
    codes: dict[str, float] = Field(
        {}, description='Points by answer, such as {"127.0.0.2-3" = 4, "127.0.*.3" = -3}; other answers have none then.'
    )
    test: bool = Field(
        True, description="Ask for its test entries (RFC 5782) before it is used; false for a list that has none."
    )

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            return api.normalize_domain(value)
        except api.InvalidInput as error:
            raise ValueError(f"the zone of a list is a domain, such as zen.spamhaus.org: {error.text}") from None

    @field_validator("codes")
    @classmethod
    def _codes(cls, value: dict[str, float]) -> dict[str, float]:
        for pattern, points in value.items():
            check_pattern(pattern)
            if not -10 <= points <= 10:
                raise ValueError(f"points of {pattern} are from -10 to 10")
        return value


class DnsblSettings(api.PluginSettings):
    """[plugins.dnsbl]"""

    lists: list[DnsList] = Field(
        [],
        max_length=20,
        description='Lists in DNS that are asked: [{zone = "zen.spamhaus.org", codes = {"127.0.0.2-3" = 4, "127.0.0.4"'
        ' = 3, "127.0.0.10-11" = 2}}, {zone = "list.dnswl.org", codes = {"127.0.*.2" = -1, "127.0.*.3" = -3}}, {zone ='
        ' "dbl.spamhaus.org", of = "domains", points = 3}]. Each has terms of its own; most do not answer large'
        " resolvers that many share. Empty: none.",
    )
    most_points: float = Field(
        6.0, ge=0, le=20, description="Points for and against a message, at most, from all lists together."
    )
    wait: api.Duration = Field(5.0, gt=0, le=30, description="Lists that do not answer within this time say nothing.")
