"""[plugins.clamd]"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["ClamdSettings"]


class ClamdSettings(api.PluginSettings):
    """[plugins.clamd]"""

    address: str = Field(
        "", description='Where clamd listens: "unix:/run/clamav/clamd.ctl" or "host:port". Empty: it is not asked.'
    )
    services: list[Literal["smtp", "submission", "sendmail"]] = Field(
        ["smtp", "submission", "sendmail"],
        description="Whose mail is scanned: of other servers (smtp), of your users (submission), of programs on this"
        " machine (sendmail).",
    )
    found: Literal["reject", "junk"] = Field(
        "reject",
        description="What becomes of a message in which it finds something: it is refused, or filed to Junk. Mail of"
        " your users, and what would be forwarded elsewhere, is refused in any case.",
    )
    max_size: api.Size = Field(
        25 << 20, ge=1,
        description="Larger messages are not scanned. Not above StreamMaxLength of clamd.conf (25 MiB or more).",
    )  # fmt: skip
    too_large: Literal["accept", "reject"] = Field(
        "accept", description="What becomes of a message that is too large for that: it is taken unseen, or refused."
    )
    most_at_once: int = Field(
        10, ge=1, le=1000, description="Messages that are scanned at one time; like MaxThreads of clamd.conf."
    )

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            api.Endpoint.parse(value)
        return value
