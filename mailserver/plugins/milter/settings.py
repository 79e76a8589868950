"""[plugins.milter]"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mailserver import api

__all__ = ["MilterSettings", "OneMilter"]


class OneMilter(api.Settings):
    """An entry of `milters`."""

    address: str = Field(description='Where it listens: "unix:/path/of/socket" or "host:port".')
    name: str = Field("", description="What it is called in replies, reasons and the log; else its address is.")
    services: list[Literal["smtp", "submission", "sendmail"]] = Field(
        ["smtp"],
        description="Whose mail it gets to see: of other servers (smtp), of your users (submission), of programs on"
        " this machine (sendmail).",
    )
    on_error: Literal["defer", "skip"] = Field(
        "defer",
        description="When it is away, too slow, or does not follow the protocol: defer answers 451, and nothing passes"
        " unseen; skip goes on without it.",
    )

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        api.Endpoint.parse(value)
        return value

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.name or str(api.Endpoint.parse(self.address))


class MilterSettings(api.PluginSettings):
    """[plugins.milter]"""

    milters: list[OneMilter] = Field(
        [],
        description="The filters that speak the milter protocol, in the order in which they are asked; the keys of each"
        ' are address, name, services and on_error. As in: [{ address = "unix:/run/opendkim/opendkim.sock", name ='
        ' "OpenDKIM", services = ["submission"], on_error = "skip" }]. Empty: none.',
    )
    discard: Literal["reject", "junk"] = Field(
        "reject",
        description="What becomes of a message that a filter wants to vanish without a word: it is refused, so that"
        " its sender learns of it, or filed to Junk. Mail that is not for accounts here is refused in any case.",
    )
    junk_fields: list[str] = Field(
        ["X-Spam: Yes", "X-Spam-Flag: YES"],
        description="Header fields by which a filter says that mail of other servers is junk: a message to which it"
        " adds one goes to Junk.",
    )
    connect_timeout: api.Duration = Field(10.0, gt=0, le=600, description="For connecting and for what goes first.")
    command_timeout: api.Duration = Field(30.0, gt=0, le=600, description="For an answer to a step.")
    content_timeout: api.Duration = Field(
        120.0, gt=0, le=600,
        description="For its answer to the end of a message. A filter that says that it is at work gets as long again.",
    )  # fmt: skip
    rest: api.Duration = Field(
        10.0, ge=0, le=3600, description="A filter that cannot be reached is not asked again before this time."
    )
    most_connections: int = Field(
        500, ge=1, le=10_000,
        description="Connections to one filter at a time. There is one for each client that sends; beyond that, the"
        " one that was idle longest is closed.",
    )  # fmt: skip
    largest_body: api.Size = Field(
        50 << 20, ge=0, description="The largest body that a filter may put in place of that of a message."
    )

    @field_validator("junk_fields")
    @classmethod
    def _fields(cls, value: list[str]) -> list[str]:
        if any(not text.partition(":")[0].strip() or not text.partition(":")[2].strip() for text in value):
            raise ValueError('must be whole fields, such as "X-Spam: Yes"')
        return value
