"""[plugins.addresses]"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mailserver import api

__all__ = ["AddressesSettings", "Filing"]

Filing = Literal["off", "existing", "create"]


class AddressesSettings(api.PluginSettings):
    """[plugins.addresses]"""

    most_temporary: int = Field(
        50, ge=0, le=10_000, description="Temporary addresses that an account can have at a time."
    )
    folders: Filing = Field(
        "existing",
        description='Whether mail for anna+lists@ goes into the mailbox Lists: "existing" when there is one, "create"'
        ' makes it, "off" never. Sent, Drafts, Junk and their like are not reached so. An account can have its own'
        " answer: mailserver account folders.",
    )
    most_folders: int = Field(
        100, ge=1, le=10_000,
        description='With "create": none is made for an account that has so many mailboxes, as strangers choose names.',
    )
