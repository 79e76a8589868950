"""[plugins.dmarc]"""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["DmarcSettings"]


class DmarcSettings(api.PluginSettings):
    """[plugins.dmarc]"""

    enforce: bool = Field(
        True,
        description="Do what the author's domain wants done with mail that nothing proves: refuse it, or file it to"
        " Junk. Off: such mail only counts more on the way to Junk.",
    )
    trusted_forwarders: list[str] = Field(
        [],
        description='Who forwards mail to you and breaks its proofs on the way: networks ("192.0.2.0/24"), or domains'
        ' ("alumni.example.edu") for which SPF or DKIM must be a pass. DMARC is not held against what they bring.',
    )
    mailing_lists: Literal["junk", "refuse", "deliver"] = Field(
        "junk",
        description="What becomes of mail that its author's domain wants refused, but that comes from a mailing list"
        " whose own domain is proved. Lists break proofs every day, and a refusal may take you off the list.",
    )
    on_temperror: Literal["defer", "accept"] = Field(
        "defer",
        description="Mail whose author's policy cannot be looked up now, and whom nothing proves:"
        " the other server is asked to come again later, and after 12 hours it goes to Junk; or it is taken as it is.",
    )
    own_domains: bool = Field(
        True,
        description="Mail from outside in the name of a domain that is served here counts against itself when nothing"
        " proves that it is from there, whatever the domain's policy; and is refused where it would be forwarded.",
    )

    @field_validator("trusted_forwarders")
    @classmethod
    def _forwarders(cls, value: list[str]) -> list[str]:
        return [_forwarder(text) for text in value]


def _forwarder(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        return api.normalize_domain(text)
    except api.InvalidInput:
        raise ValueError('must be networks or domains, such as "192.0.2.0/24" or "lists.example.org"') from None
