"""[plugins.dkim_verify]"""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["DkimVerifySettings"]


class DkimVerifySettings(api.PluginSettings):
    """[plugins.dkim_verify]"""

    replay_recipients: int = Field(
        100,
        ge=1,
        description="How many recipients here one and the same signed message may have. Beyond that it is taken for a"
        " copy that somebody sends around in the signer's name, which counts a little against it.",
    )
    replay_after: api.Duration = Field(
        8 * 86400.0,
        gt=3600,
        description="How long after its first arrival a signed message may come again. No honest queue takes longer.",
    )
