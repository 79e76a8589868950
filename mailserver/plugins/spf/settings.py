"""[plugins.spf]"""

from __future__ import annotations

from pydantic import Field

from mailserver import api

__all__ = ["SpfSettings"]


class SpfSettings(api.PluginSettings):
    """[plugins.spf]"""

    reject_fail: bool = Field(
        False,
        description="Refuse mail at once when the domain of its envelope sender says by SPF (-all) that the client may"
        " not send for it. Off, because forwarded mail fails so as well, and DMARC weighs SPF and DKIM together.",
    )
    received_spf: bool = Field(
        False,
        description="Also write Received-SPF, for older filters that do not read Authentication-Results.",
    )
