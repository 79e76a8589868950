"""Settings of the sender: `[sending]` in config.toml."""

from __future__ import annotations

from pydantic import Field

from mailserver.hooks.settings import Duration, Settings, Size

__all__ = ["SendingSettings"]


class SendingSettings(Settings):
    """How mail is given to other servers. The waiting times are those of RFC 5321 §4.5.3.2."""

    connect_timeout: Duration = Field(30.0, gt=0, description="A connection to an address must stand within this time.")
    greeting_timeout: Duration = Field(
        300.0, gt=0, description="A server must greet within this time; many make clients wait on purpose."
    )
    command_timeout: Duration = Field(
        300.0, gt=0, description="A reply to EHLO, AUTH, MAIL and RCPT must come within this time."
    )
    data_timeout: Duration = Field(120.0, gt=0, description="The reply to DATA must come within this time.")
    block_timeout: Duration = Field(
        180.0, gt=0, description="A piece of 64 KiB of the message must be taken within this time."
    )
    end_timeout: Duration = Field(
        600.0,
        gt=0,
        description="The reply to the end of the message must come within this time. Do not shorten it: who gives up"
        " here sends the message twice.",
    )
    quit_timeout: Duration = Field(5.0, gt=0, description="How long a server may take over its goodbye.")
    attempt_time: Duration = Field(
        3600.0, gt=0, description="An attempt to deliver one message to one destination is given up after this time."
    )
    most_hosts: int = Field(
        8, ge=2, le=100, description="Hosts of a destination that one attempt tries. RFC 5321 §5.1: two at least."
    )
    recipients_per_message: int = Field(
        100, ge=1, le=1000, description="Recipients that a server is given with one message. RFC 5321 §4.5.3.1.8: it"
        " must take 100.",
    )  # fmt: skip
    together: Size = Field(
        64 << 10,
        description="A message up to this size goes out in one write with its envelope, where a server has CHUNKING"
        " and PIPELINING.",
    )
