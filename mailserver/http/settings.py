"""Settings of the HTTP listener."""

from __future__ import annotations

from pydantic import Field, field_validator

from mailserver.hooks.settings import Settings, Size
from mailserver.net.settings import check_address, check_networks

__all__ = ["HttpSettings"]


class HttpSettings(Settings):
    """Health, metrics and administration over HTTP. Keep it on loopback, or behind a reverse proxy that does TLS."""

    listen: list[str] = Field(
        ["127.0.0.1:2080"],
        description='Addresses for plain HTTP, as "host:port" or "[ipv6]:port". Empty: no HTTP at all.',
    )
    metrics_from: list[str] = Field(
        ["127.0.0.0/8", "::1"], description="Networks that may read /metrics; everyone else is answered 403."
    )
    max_body: Size = Field(1 << 20, description="The largest request body that is read.")

    @field_validator("listen")
    @classmethod
    def _addresses(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            check_address(address)
        return addresses

    _networks = field_validator("metrics_from")(check_networks)
