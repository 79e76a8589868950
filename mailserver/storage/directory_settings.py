"""[domains."…"]: what the configuration says of a domain."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from mailserver.hooks.settings import Settings

__all__ = ["DomainSettings"]

_SEPARATORS = re.compile(r"[+\-=_#!]?", re.ASCII)


class DomainSettings(Settings):
    """[domains."example.test"]: a domain that we serve."""

    aliases: dict[str, list[str]] = Field(
        {},
        description="Addresses that stand for others: the local part and its targets, of ours or anyone's. "
        "A target without @ is in this domain.",
    )
    catch_all: str = Field(
        "",
        description="Address that gets the mail for unknown addresses of this domain; one elsewhere is asked first. "
        "Empty: unknown addresses are refused.",
    )
    postmaster: str = Field(
        "",
        description="Address that gets the mail for postmaster and abuse of this domain; one elsewhere is asked first. "
        "Empty: the first account.",
    )
    subaddress_separator: str = Field(
        "+", description="anna+lists reaches anna, with this character between. Empty: no sub-addresses."
    )

    @field_validator("subaddress_separator")
    @classmethod
    def _separator(cls, value: str) -> str:
        if not _SEPARATORS.fullmatch(value):
            raise ValueError("the separator is one of + - = _ # ! or empty")
        return value
