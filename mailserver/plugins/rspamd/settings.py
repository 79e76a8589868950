"""[plugins.rspamd]"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["RspamdSettings"]


class RspamdSettings(api.PluginSettings):
    """[plugins.rspamd]"""

    address: str = Field(
        "",
        description='Where a normal worker of Rspamd listens: "127.0.0.1:11333" or "unix:/path/of/socket". Empty: it'
        " is not asked.",
    )
    services: list[Literal["smtp", "submission", "sendmail"]] = Field(
        ["smtp"], description="Whose mail it gets to see; see the same setting of clamd. Trusted clients' never."
    )
    weight: float = Field(
        0.25, ge=0, le=10,
        description="How much a point of Rspamd's counts here, beside its action, which is done in any case. A quarter"
        " of the 6 points with which it would mark a message is 1.5. 0: only the action counts.",
    )  # fmt: skip
    greylist: bool = Field(
        False,
        description='Whether its action "greylist" defers a message. Its own module for that says "soft reject" when a'
        " message is to come again, which is always obeyed.",
    )
    max_size: api.Size = Field(
        50 << 20, ge=1, description="Larger messages are not shown to it; like max_message of Rspamd's options."
    )
    most_at_once: int = Field(20, ge=1, le=1000, description="Messages that it examines at one time.")

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            api.Endpoint.parse(value)
        return value
