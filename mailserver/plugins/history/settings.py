"""[plugins.history]"""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["HistorySettings"]


class HistorySettings(api.PluginSettings):
    """[plugins.history]"""

    keep: api.Duration = Field(
        14 * 86400.0,
        ge=3600,
        description="How long it is remembered what became of a message: mailserver history, mailserver why.",
    )
    max_size: api.Size = Field(
        256 << 20, ge=1 << 20, description="Size of the history on disk. Above it, the oldest entries go first."
    )
