"""[plugins.dkim]"""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["DkimSettings"]


class DkimSettings(api.PluginSettings):
    """[plugins.dkim]"""

    valid: api.Duration = Field(
        7 * 86400.0,
        gt=3600,
        description="How long a signature is good; it is made anew at each attempt to send. Short enough that a message"
        " caught by somebody cannot be sent around in your name for long.",
    )
