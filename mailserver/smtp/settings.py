"""[smtp] and [submission]: the settings of mail that comes in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mailserver.hooks.settings import Duration, Settings, Size
from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput
from mailserver.net.settings import check_address, check_networks

__all__ = ["SendmailSettings", "SmtpSettings", "SubmissionSettings"]


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

    hide_client_address: bool = Field(
        True,
        description="Leave the network address of users, and the name of their machine, out of the mail that they send:"
        " every recipient could read there where they are. The log and `mailserver why` have it all the same.",
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


class SendmailSettings(Settings):
    """[sendmail]"""

    enabled: bool = Field(
        True, description="Take mail from programs on this machine: mailserver sendmail, over a Unix socket."
    )
    socket: str = Field(
        "",
        description="Where the socket is, relative to this file; programs look at /run/mailserver/submit.sock when they"
        " cannot read this file. Empty: submit.sock in the run-time directory that systemd gives, else in"
        " data_dir/.server, where only root and the server's own user reach it.",
    )
    allow: list[str] = Field(
        ["*"], description='Users of this machine who may send, by name; "*": all. Root always may.'
    )
    users: dict[str, list[str]] = Field(
        {},
        description="In whose name a user sends: the first address is the sender unless the program names another of"
        ' them; "@example.org" allows all addresses there. For example {"www-data" = ["web@example.org"]}. All others'
        " send as <user>@<the domain of hostname, or the first that is served>.",
    )
    messages_per_day: int = Field(
        1000, ge=1, description="Messages a day of one user; root and the server's own user are not counted."
    )
    max_size: Size = Field(50 << 20, ge=65536, description="Largest message in octets; smtp.max_size bounds it too.")

    @field_validator("users")
    @classmethod
    def _addresses(cls, users: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, addresses in users.items():
            if not addresses:
                raise ValueError(f"{name} has no address; to forbid sending, name in allow who may")
            for text in addresses:
                try:
                    _ = normalize_domain(text[1:]) if text.startswith("@") else EmailAddress.parse(text)
                except InvalidInput as error:
                    raise ValueError(f"{text!r}: {error.text}") from None
        return users
