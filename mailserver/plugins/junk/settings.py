"""Settings: `[plugins.junk]` in config.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from mailserver import api

__all__ = ["JunkSettings"]

_DAY = 86_400.0


class JunkSettings(api.PluginSettings):
    """[plugins.junk]"""

    junk: float = Field(
        5.0,
        ge=0,
        le=1000,
        description="A message with so many points goes to Junk; 0: none does. An account can have a number of its own:"
        " mailserver junk set.",
    )
    reject: float = Field(
        12.0, ge=0, le=1000, description="A message with so many points is refused; 0: none is. Likewise per account."
    )
    refuse_with: Literal["reject", "defer"] = Field(
        "reject",
        description='What the sender of a refused message is told: "reject" is 550, for good; "defer" is 451, so that'
        " the other server keeps it and comes again for some days, and you can still change your mind.",
    )
    keep: api.Duration = Field(
        14 * _DAY,
        ge=3600,
        description="How long a copy of a refused message lies in the mailbox Rejects.",
    )
    most_kept: int = Field(
        1000, ge=0, le=100_000, description="Messages in Rejects; above it the oldest go. 0: no copies are kept."
    )
    max_size: api.Size = Field(
        100 << 20, ge=1 << 20,
        description="Size of all messages in Rejects, which count against the quota; above it the oldest go, once an"
        " hour. A refused message of more than a tenth of it leaves no copy when nobody else takes it.",
    )  # fmt: skip
    most_senders: int = Field(
        1000, ge=1, le=100_000, description="Senders that an account can allow or block: mailserver sender."
    )
    honeypots: list[str] = Field(
        [],
        description="Addresses of your domains that nobody uses and that only those find who harvest addresses. Servers"
        " and senders that write to one have a bad name for everybody here.",
    )
    remember: api.Duration = Field(
        7 * _DAY, ge=60, description="How long it is remembered who wrote to a honeypot."
    )

    @field_validator("honeypots")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        try:
            return [api.EmailAddress.parse(address).key for address in value]
        except api.InvalidInput as error:
            raise ValueError(f"a honeypot is an address such as trap@example.org: {error.text}") from None

    @model_validator(mode="after")
    def _order(self) -> JunkSettings:
        if self.junk and self.reject and self.reject < self.junk:
            raise ValueError("reject must not be less than junk")
        return self
