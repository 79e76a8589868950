"""[plugins.quota_warning]"""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["QuotaWarningSettings"]


class QuotaWarningSettings(api.PluginSettings):
    """[plugins.quota_warning]"""

    percent: int = Field(
        90,
        ge=0,
        le=100,
        description="A user whose mailbox is so full, in per cent of its limit, gets a message that says so, and what"
        " to do. The next one comes only after it was 10 points below that. 0: none.",
    )

    @property
    def again_below(self) -> int:
        """Who was told is told again after the mailbox was less full than this, in per cent."""
        return max(1, self.percent - 10)
