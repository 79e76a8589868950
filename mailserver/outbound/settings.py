"""Settings of the sender: `[sending]` and `[smarthosts.<name>]` in config.toml."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from mailserver.hooks.settings import Duration, Settings, Size
from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput
from mailserver.net.addresses import literal

__all__ = ["SendingSettings", "SmarthostSettings"]

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?):([0-9]{1,5})")


class SendingSettings(Settings):
    """How mail is given to other servers. The waiting times are those of RFC 5321 §4.5.3.2."""

    connect_timeout: Duration = Field(30.0, gt=0, description="A connection to an address must stand within this time.")
    greeting_timeout: Duration = Field(
        300.0, gt=0, description="A server must greet within this time; many make clients wait on purpose."
    )
    command_timeout: Duration = Field(
        300.0, gt=0, description="A reply to EHLO, AUTH, MAIL and RCPT must come within this time."
    )
    handshake_timeout: Duration = Field(30.0, gt=0, description="TLS must be agreed on within this time.")
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
        3600.0,
        gt=0,
        description="An attempt to deliver one message to one destination is given up after this time, however often a"
        " server answers at the last moment. It holds one of queue.connections as long.",
    )
    most_hosts: int = Field(
        8, ge=2, le=100, description="Hosts of a destination that one attempt tries. RFC 5321 §5.1: two at least."
    )
    recipients_per_message: int = Field(
        100,
        ge=1,
        le=1000,
        description="Recipients that a server is given with one message. RFC 5321 §4.5.3.1.8: it must take 100.",
    )
    together: Size = Field(
        64 << 10,
        description="A message up to this size goes out in one write with its envelope, where a server has CHUNKING"
        " and PIPELINING.",
    )
    reuse_idle: Duration = Field(
        5.0,
        ge=0,
        description="How long a connection waits for the next message to the same destination. 0: not at all.",
    )
    reuse_age: Duration = Field(300.0, ge=0, description="A connection this old takes no further message.")
    reuse_messages: int = Field(100, ge=1, description="Messages that one connection takes.")
    idle_connections: int = Field(100, ge=0, description="Connections that may wait for a message at one time.")


    source_addresses: dict[str, list[str]] = Field(
        {},
        description="Addresses of this machine to send from, by the domain of the sender, one IPv4 and one IPv6 at"
        ' most, such as {"example.org" = ["192.0.2.7", "2001:db8::7"]}; "*" is for all others and for reports. Only'
        " families that are named are used. Empty: as the system chooses.",
    )

    @field_validator("source_addresses")
    @classmethod
    def _sources(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        found = {}
        for domain, addresses in value.items():
            try:
                key = domain if domain == "*" else normalize_domain(domain)
            except InvalidInput:
                raise ValueError(f'{domain!r} is neither a domain nor "*"') from None
            literals = [literal(address) for address in addresses]
            if not literals or not all(literals):
                raise ValueError(f"the addresses for {domain} must be IP addresses, at least one")
            if len({":" in address for address in literals}) < len(literals):
                raise ValueError(f"{domain} may have one IPv4 and one IPv6 address")
            found[key] = literals
        return found


class SmarthostSettings(Settings):
    """A server that takes mail of ours for everybody, because we have an account there."""

    host: str = Field(
        examples=["smtp.example.net:587"], description="Its name and port. It must have a certificate for this name."
    )
    tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls",
        description="starttls (port 587 or 25), implicit (port 465), or none, which only fits a machine nearby.",
    )
    user: str = Field("", description="Our user name there. Empty: no login.")
    password_file: str = Field(
        "", description="A file with the password in its first line, readable by the server only."
    )
    ca_file: str = Field("", description="Authorities (PEM) for its certificate. Empty: those of the system.")
    senders: list[str] = Field(
        [],
        description='Whose mail goes there: addresses ("anna@example.org") and domains ("example.org") of senders.'
        " Empty: everybody's that no other smarthost names.",
    )

    @field_validator("host")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        match = _HOST_PORT.fullmatch(value)
        if match is None or not 0 < int(match[2]) < 65536:
            raise ValueError('a host is written "host:port", for example "smtp.example.net:587"')
        return value

    @field_validator("senders")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for text in value:
            try:
                EmailAddress.parse(text) if "@" in text else normalize_domain(text)
            except InvalidInput as error:
                raise ValueError(f"{text!r} is neither an address nor a domain: {error.text}") from None
        return value

    @model_validator(mode="after")
    def _login(self) -> SmarthostSettings:
        if self.user and (not self.password_file or self.tls == "none"):
            raise ValueError("a user needs a password_file, and TLS")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host (an IPv6 address without brackets) and port."""
        host, _, port = self.host.rpartition(":")
        return host.strip("[]"), int(port)
