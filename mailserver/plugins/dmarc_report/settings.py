"""[plugins.dmarc_report]"""

from __future__ import annotations

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["DmarcReportSettings"]

_DAY = 86400.0


def _address(text: str) -> str:
    try:
        address = api.EmailAddress.parse(text)
    except api.InvalidInput as error:
        raise ValueError(f"{text!r} is no address: {error.text}") from None
    if not address.local.isascii():
        raise ValueError(f"{text!r}: only an address in ASCII reaches everybody")
    return text


class DmarcReportSettings(api.PluginSettings):
    """[plugins.dmarc_report]"""

    send: bool = Field(
        True,
        description="Tell other domains every day what came here in their name, if they ask: from which servers, how"
        " much, and whether it was proved. No address of a person is in it. Off: it is not counted either.",
    )
    contact: str = Field(
        "",
        description="The address that reports come from, in a domain that is served here. By default postmaster at the"
        " domain that the host name is in, else at the first one.",
    )
    organisation: str = Field("", description="Who you are, in reports. By default the domain of the contact address.")
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
        90 * _DAY, ge=_DAY, description="How long it is remembered what others have reported: mailserver report dmarc."
    )

    @field_validator("contact")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return _address(value) if value else value

    @field_validator("receive_at")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        return [_address(text) for text in value]
