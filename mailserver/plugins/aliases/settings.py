"""Settings: `[plugins.aliases]` in config.toml."""

from __future__ import annotations

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["AliasesSettings"]


class AliasesSettings(api.PluginSettings):
    """[plugins.aliases]"""

    trusted_domains: list[str] = Field(
        [],
        description="Domains elsewhere whose addresses need not agree to get the mail of an alias, because they are"
        " yours too. The domain alone counts, not those below it.",
    )

    @field_validator("trusted_domains")
    @classmethod
    def _domains(cls, value: list[str]) -> list[str]:
        try:
            return [api.normalize_domain(domain) for domain in value]
        except api.InvalidInput as error:
            raise ValueError(f"a domain is written as example.org: {error.text}") from None
