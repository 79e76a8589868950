"""What both kinds of report let an operator choose."""

from __future__ import annotations

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["AggregateReportSettings"]

_DAY = 86400.0


def _address(text: str) -> str:
    try:
        address = api.EmailAddress.parse(text)
    except api.InvalidInput as error:
        raise ValueError(f"{text!r} is no address: {error.text}") from None
    if not address.local.isascii():
        raise ValueError(f"{text!r}: only an address in ASCII reaches everybody")
    return text


class AggregateReportSettings(api.PluginSettings):
    """The base of [plugins.dmarc_report] and [plugins.tlsrpt]."""

    send: bool = Field(True, description="Send reports to those who ask for them.")
    contact: str = Field(
        "",
        description="The address that reports come from, in a domain that is served here. By default postmaster at the"
        " domain that the host name is in, else at the first one.",
    )
    organisation: str = Field("", description="Who you are, in reports. By default the domain of the contact address.")
    copies: list[str] = Field([], max_length=10, description="Addresses that get a copy of each report that is sent.")
    delay: api.Duration = Field(
        4 * 3600.0,
        ge=0,
        le=20 * 3600.0,
        description="Reports of a day leave at moments spread over this time after midnight UTC.",
    )
    receive_at: list[str] = Field(
        [],
        max_length=100,
        description="Addresses of yours that reports come to. Mail there is read as a report whatever domain it is"
        " about; at other addresses, only reports about domains that are served here.",
    )
    keep: api.Duration = Field(
        90 * _DAY, ge=_DAY, description="How long it is remembered what others have reported: mailserver report."
    )

    @field_validator("contact")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return _address(value) if value else value

    @field_validator("copies", "receive_at")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        return [_address(text) for text in value]
