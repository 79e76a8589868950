"""[plugins.rate_limit]"""

from __future__ import annotations

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["AccountLimits", "RateLimitSettings"]


class AccountLimits(api.Settings):
    """What one account may do differently; what is not given is as for all."""

    messages_per_day: int | None = Field(None, ge=1, description="Messages a day.")
    recipients_per_day: int | None = Field(None, ge=1, description="Recipients a day, over all messages.")
    new_recipients_per_day: int | None = Field(None, ge=1, description="Addresses a day that it never wrote to before.")


class RateLimitSettings(api.PluginSettings):
    """[plugins.rate_limit]"""

    messages_per_minute: int = Field(
        300, ge=1, description="Messages a minute from one address of a stranger (its networks: 3 and 9 times)."
    )
    recipients_per_minute: int = Field(
        1000, ge=1, description="Recipients a minute from one address of a stranger (its networks: 3 and 9 times)."
    )
    unknown_recipients_per_day: int = Field(
        35, ge=1, description="Unknown recipients a day from one address, before it is not listened to for that day."
    )
    account_messages_per_day: int = Field(
        1000, ge=1, description="Messages a day that one of our users may send; a stolen password does no more harm."
    )
    account_recipients_per_day: int = Field(
        5000, ge=1, description="Recipients a day that one of our users may name, over all messages."
    )
    account_new_recipients_per_day: int = Field(
        200, ge=1, description="Addresses elsewhere that one of our users may write to for the first time, a day."
    )
    account_exceptions: dict[str, AccountLimits] = Field(
        {},
        description='Other limits for single accounts: { "news@example.org" = { messages_per_day = 20000,'
        " recipients_per_day = 50000, new_recipients_per_day = 2000 } }; what is not given is as for all.",
    )

    @field_validator("account_exceptions")
    @classmethod
    def _keys(cls, value: dict[str, AccountLimits]) -> dict[str, AccountLimits]:
        try:
            return {api.EmailAddress.parse(address).key: limits for address, limits in value.items()}
        except api.InvalidInput as error:
            raise ValueError(f"an account is written as its address: {error.text}") from None
