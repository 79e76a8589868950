"""Settings of the queue: `[queue]` in config.toml."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from mailserver.hooks.settings import Duration, Settings

__all__ = ["QueueSettings"]

_HOST = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?)"
_HOST_PORT = re.compile(rf"{_HOST}:([0-9]{{1,5}})", re.ASCII)


class QueueSettings(Settings):
    """Mail on its way to other servers."""

    max_age: Duration = Field(
        5 * 86400.0,
        gt=0,
        description="How long to go on trying before a message is returned to its sender. RFC 5321 §4.5.4.1 asks for"
        " 4 to 5 days.",
    )
    retry: list[Duration] = Field(
        [300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0],
        min_length=1,
        max_length=100,
        description="Waiting times between attempts; the last one repeats until max_age. Each is varied by a tenth, so"
        " that messages of one moment do not stay together.",
    )
    relay: str = Field(
        "",
        description='Give all outgoing mail to this server instead of the recipients\' own: "host:port" or'
        ' "[IPv6]:port". Empty: deliver directly.',
    )
    port: int = Field(
        25,
        ge=1,
        le=65535,
        description="The port on which other servers take mail. Another one than 25 is for tests only.",
    )
    allow_private_addresses: bool = Field(
        False,
        description="Connect to loopback, private and link-local addresses too. Leave this off on the Internet: a"
        " stranger's DNS could point into your network.",
    )
    max_items: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Messages that may wait at once (about 1 kB of memory each). Above it, mail for other servers is"
        " refused for the time being.",
    )

    concurrency: int = Field(
        20,
        ge=1,
        le=1000,
        description="Messages that are sent to one destination at once, at most. It begins with 5, and there are fewer"
        " while the destination asks for less.",
    )
    connections: int = Field(
        200,
        ge=1,
        le=10_000,
        description="Messages that are sent to other servers at once, at most. One sender alone uses seven eighths of"
        " them, so that others can begin; several have equal parts. All mail that no account sent (reports, forwarded"
        " mail) counts as one sender's, and uses half of them at most.",
    )
    delay_notice: Duration = Field(
        4 * 3600.0,
        ge=0,
        description="Tell the sender once that a message is late after this time; 0s: never (RFC 3461 §4.1).",
    )

    stranger_reports: int = Field(
        10,
        ge=0,
        description="Reports in an hour, at most, to one sender who neither has an account here nor is this server"
        " itself. The address may be forged: who has it then gets no flood from us. What is above goes to the log.",
    )
    stranger_reports_in_all: int = Field(
        200, ge=0, description="Reports in an hour, at most, to all such senders together."
    )

    @field_validator("retry")
    @classmethod
    def _positive(cls, value: list[float]) -> list[float]:
        if any(wait <= 0 for wait in value):
            raise ValueError("each waiting time must be above zero")
        return value

    @field_validator("relay")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        match = _HOST_PORT.fullmatch(value)
        if value and (match is None or not 0 < int(match[1]) < 65536):
            raise ValueError('a relay is written "host:port", for example "smtp.example.test:587"')
        return value
