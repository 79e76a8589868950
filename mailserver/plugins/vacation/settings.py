"""[plugins.vacation]"""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["VacationSettings"]


class VacationSettings(api.PluginSettings):
    """[plugins.vacation]"""

    days: int = Field(
        7,
        ge=1,
        le=30,
        description="One sender gets one answer of an account in so many days, unless the account has a number of its"
        " own: mailserver vacation set ACCOUNT --days.",
    )
    most_per_hour: int = Field(
        60,
        ge=1,
        le=10_000,
        description="Answers that an account sends in an hour at most, to however many senders. Who comes later gets"
        " one with his next message.",
    )
    longest_text: api.Size = Field(
        16_384, ge=1, le=1_048_576, description="Most octets of the text of an answer."
    )
