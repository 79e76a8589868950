"""[smtp] and [submission]: the settings of mail that comes in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mailserver.hooks.settings import Duration, Settings, Size
from mailserver.net.settings import check_address, check_networks

__all__ = ["SmtpSettings", "SubmissionSettings"]


def _check_all(addresses: list[str]) -> list[str]:
    for address in addresses:
        check_address(address)
    return addresses


class SmtpSettings(Settings):
    """[smtp]"""

    listen: list[str] = Field(
        ["127.0.0.1:2525"],
        description='Addresses for mail from other servers; "0.0.0.0:25" and "[::]:25" on a real server. Empty: none.',
    )
    max_size: Size = Field(
        50 << 20, ge=65536, description="Largest message in octets: SIZE of SMTP and APPENDLIMIT of IMAP."
    )
    bare_newline: Literal["reject", "normalize"] = Field(
        "reject",
        description="What becomes of a message with bare CR, bare LF or NUL from another server. Submission always "
        "normalizes.",
    )
    greet_delay: Duration = Field(
        0.0, ge=0, le=60, description="Wait before the greeting; a client that speaks first is sent away (bots do)."
    )
    proxy_from: list[str] = Field(
        [],
        description="Proxies that begin every connection with a PROXY header (version 1 or 2): addresses and networks.",
    )

    _addresses = field_validator("listen")(_check_all)
    _networks = field_validator("proxy_from")(check_networks)


class SubmissionSettings(Settings):
    """[submission]"""

    listen: list[str] = Field(
        ["127.0.0.1:2587"],
        description='Addresses where users send mail, with STARTTLS; "0.0.0.0:587" on a real server. Empty: none.',
    )
    listen_tls: list[str] = Field(
        ["127.0.0.1:2465"],
        description='The same with TLS from the first octet (RFC 8314); "0.0.0.0:465" on a real server. Empty: none.',
    )
    proxy_from: list[str] = Field(
        [],
        description="Proxies that begin every connection with a PROXY header (version 1 or 2): addresses and networks.",
    )

    hold_longest: Duration = Field(
        30 * 86400.0, ge=0, le=999_999_999,
        description="For how long a user may ask us to hold a message before it is sent (FUTURERELEASE, RFC 4865; mail"
        " programs call it send later). 0s: not offered.",
    )
    hold_messages: int = Field(
        500, ge=1, description="Messages of one account that may wait for such a time at once."
    )

    _addresses = field_validator("listen", "listen_tls")(_check_all)
    _networks = field_validator("proxy_from")(check_networks)
