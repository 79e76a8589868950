"""[plugins.mta_sts]"""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["MtaStsSettings"]


class MtaStsSettings(api.PluginSettings):
    """[plugins.mta_sts]"""

    fetch_timeout: api.Duration = Field(
        60.0, gt=0, le=60, description="A policy must be fetched within this time. RFC 8461 suggests one minute."
    )
    refresh: api.Duration = Field(
        86400.0, ge=3600,
        description="Policies of domains that mail goes to are fetched again in the background after this time, so"
        " that whoever disturbs the fetching must do so until they expire.",
    )  # fmt: skip
    ca_file: str = Field(
        "", pattern="^(/.*)?$",
        description="Authorities (PEM) for the certificates of policy hosts, an absolute path. Empty: those of the"
        " system.",
    )  # fmt: skip
    port: int = Field(
        443, ge=1, le=65535, description="The port of policy hosts. Another one than 443 is for tests only."
    )
