"""Settings that more than one service needs: TLS, logins, limits, DNS."""

from __future__ import annotations

import contextlib
import ipaddress
import re

from pydantic import Field, field_validator

from mailserver.hooks.settings import Duration, Settings, Size

__all__ = [
    "AuthSettings", "DnsSettings", "LimitsSettings", "TlsSettings", "check_address", "check_networks", "check_resolver",
]  # fmt: skip

_RESOLVER = re.compile(
    r"\[([0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,15})?)\](?::([0-9]{1,5}))?|([0-9.]{7,15})(?::([0-9]{1,5}))?"
    r"|([0-9A-Fa-f:]{2,39}(?:%[A-Za-z0-9._-]{1,15})?)",
    re.ASCII,
)
_ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.*-]*)):([0-9]{1,5})")


def check_networks(networks: list[str]) -> list[str]:
    """Pass a list of addresses and networks (`192.0.2.0/24`, `::1`), or raise ValueError that names the wrong one."""
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError(f"{network!r} is not an IP address or network (host bits must be zero)") from None
    return networks


def check_address(address: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`; an empty host or `*` means every interface. Raises ValueError."""
    match = _ENDPOINT.fullmatch(address)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f'{address!r} is not an address to listen on, such as "127.0.0.1:2525" or "[::1]:2525"')
    return match[1] or match[2], int(match[3])


def check_resolver(text: str) -> tuple[str, int]:
    """Split `address`, `address:port` or `[v6]:port`, where the port is 53 when there is none. Raises ValueError."""
    match = _RESOLVER.fullmatch(text)
    if match is not None:
        address, port = match[1] or match[3] or match[5], int(match[2] or match[4] or 53)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(address)
            if 0 < port < 65536:
                return address, port
    raise ValueError(f'{text!r} is not the address of a resolver, such as "127.0.0.1:53" or "[::1]:53"')


class TlsSettings(Settings):
    """[tls]"""

    cert_file: str = Field(
        "",
        description="Certificate chain (PEM), relative to the configuration file. Empty: a self-signed one is "
        "made for trying out.",
    )
    key_file: str = Field(
        "",
        description="Private key of the certificate (PEM), readable by the server only. ECDSA P-256 is the fastest.",
    )


    client_ca_file: str = Field(
        "",
        description="Certificates (PEM) of those who make certificates for our users. With it, a client may show one"
        " when it reads or submits mail, and log in by it (EXTERNAL) as the account that it names."
        " What is taken out of the file is trusted until the server is started again. Empty: none.",
    )


class AuthSettings(Settings):
    """[auth]"""

    allow_plaintext_from: list[str] = Field(
        ["127.0.0.0/8", "::1"],
        description="Clients at these addresses may log in without TLS; everyone else must use TLS.",
    )
    scram: bool = Field(
        True, description="Offer SCRAM-SHA-256. When false, no SCRAM verifiers are kept beside the password hashes.",
    )
    scram_plus: bool = Field(
        False,
        description="Offer SCRAM-SHA-256-PLUS over TLS, bound to our certificate (tls-server-end-point). Only where all"
        " clients know this binding: others, which want tls-exporter, cannot log in when they see it.",
    )

    _networks = field_validator("allow_plaintext_from")(check_networks)


class DnsSettings(Settings):
    """[dns]"""

    servers: list[str] = Field(
        [],
        max_length=8,
        description='Resolvers as "address:port" (or "[IPv6]:port"), asked in this order; empty: those of the system'
        " (/etc/resolv.conf). Best: a validating one on this machine, such as unbound.",
    )
    trust_ad: list[str] = Field(
        [],
        description="Addresses or networks of resolvers on other machines whose word about DNSSEC counts, because"
        " nobody can change answers on the way here. Resolvers on this machine are always believed (but not"
        " Docker's at 127.0.0.11, which hands on what others say), and those of the system where resolv.conf has"
        ' "options trust-ad". Without a believed one there is no DANE.',
    )

    _networks = field_validator("trust_ad")(check_networks)

    @field_validator("servers")
    @classmethod
    def _servers(cls, value: list[str]) -> list[str]:
        for server in value:
            check_resolver(server)
        return value


class LimitsSettings(Settings):
    """[limits]: every bound that protects the server; raise one when honest use meets it."""

    trusted: list[str] = Field(
        ["127.0.0.0/8", "::1"],
        description="Clients here are never throttled, capped, greylisted, tarpitted, filed to Junk or banned.",
    )
    connections_total: int = Field(
        0, ge=0,
        description="Connections at one time over all listeners. 0: four fifths of the open files that the"
        " system allows, or two thirds of what the server's own leave, where they are few.",
    )
    connections_per_network: list[int] = Field(
        [30, 90, 270], min_length=3, max_length=3,
        description="Connections at one time per network: IPv4 /32, /26, /21; IPv6 /64, /48, /32.",
    )
    connection_rate: list[int] = Field(
        [300, 900, 2700],
        min_length=3,
        max_length=3,
        description="New connections a minute for each of the same three networks.",
    )
    tls_handshake: Duration = Field(10.0, gt=0, description="A TLS handshake that takes longer is given up.")
    idle: Duration = Field(300.0, gt=0, description="An SMTP client must finish its next command within this time.")
    message_time: Duration = Field(1200.0, gt=0, description="One message must arrive within this time.")
    min_rate: int = Field(
        500, ge=0, description="Octets a second that a client must send on average while a message arrives.",
    )
    min_rate_grace: Duration = Field(60.0, ge=0, description="The minimum rate is asked for after this time.")
    write_stall: Duration = Field(
        60.0, gt=0, description="A client that does not read its replies for this long is cut off.",
    )
    unread_replies: Size = Field(
        64 << 10, ge=4096, description="When this much waits to be read by a client, nothing more is read from it.",
    )
    command_line: Size = Field(2048, ge=512, description="Longest SMTP command; MAIL and RCPT may have twice as much.")
    auth_line: Size = Field(12288, ge=1024, description="Longest AUTH command or answer (RFC 4954).")
    message_line: Size = Field(64 << 10, ge=1000, description="Longest line of a message that is accepted by SMTP.")
    recipients: int = Field(
        1000, ge=100, description="Recipients of one message; more get 452, and 421 at twice as many.",
    )
    errors: int = Field(20, ge=1, description="Commands with errors before an SMTP client is sent away.")
    junk_commands: int = Field(
        100, ge=1, description="Commands without effect (NOOP, RSET, VRFY, …) before an SMTP client is sent away.",
    )
    received_hops: int = Field(
        50, ge=1, description="Received fields of a message; more means that it runs in a circle.",
    )
    header_size: Size = Field(1 << 20, ge=65536, description="Octets of all header fields of a message.")
    header_field: Size = Field(64 << 10, ge=1000, description="Octets of one header field.")
    header_fields: int = Field(2000, ge=100, description="Header fields of a message.")
    unknown_recipient_delay: Duration = Field(
        5.0, ge=0, description="Pause before an unknown recipient is refused, against guessing of addresses.",
    )
    imap_line_before_login: Size = Field(
        8 << 10, ge=1024, description="Longest IMAP command before login, literals included.",
    )
    imap_line: Size = Field(
        64 << 10, ge=8192, description="Longest IMAP command after login, literals included (APPEND's message apart).",
    )
    imap_idle: Duration = Field(
        1800.0, ge=1800,
        description="An IMAP client that says nothing for this long is logged out (RFC 9051: 30 minutes at least).",
    )
    failed_logins_per_minute: int = Field(
        10, ge=1, description="Failed logins a minute per network, over all protocols.",
    )
    failed_logins_per_day: int = Field(50, ge=1, description="Failed logins a day per network, over all protocols.")
    failed_logins_per_account: int = Field(
        100, ge=1, description="Failed logins a day per account, over all protocols and networks.",
    )
    password_hashes: int = Field(
        4, ge=1, le=64, description="Passwords that are checked at the same time (19 MiB each).",
    )
    password_queue: int = Field(64, ge=1, description="Password checks that may wait; more are asked to try again.")
    drain: Duration = Field(20.0, ge=0, description="Time for messages in transit when the server stops.")

    _networks = field_validator("trusted")(check_networks)
