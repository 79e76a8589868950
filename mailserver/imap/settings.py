"""[imap]: the settings of the IMAP server."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from mailserver.hooks.settings import Duration, Settings
from mailserver.imap.capabilities.offers import CLIENT
from mailserver.mime.comparators import CASEFOLD, COMPARATORS
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput
from mailserver.net.settings import check_address

__all__ = ["ImapSettings"]

#: A mailbox name of one level, whatever the separator is.
_ONE_LEVEL = re.compile(r'[^\x00-\x1f\x7f-\U0010ffff*%"\\&/.]{0,64}')
_CAPABILITY = re.compile(r"[A-Za-z0-9=/+._-]{1,64}")


class ImapSettings(Settings):
    """[imap]"""

    listen: list[str] = Field(
        ["127.0.0.1:2143"],
        description='Addresses for IMAP with STARTTLS; "0.0.0.0:143" and "[::]:143" on a real server. Empty: none.',
    )
    listen_tls: list[str] = Field(
        ["127.0.0.1:2993"],
        description="Addresses for IMAP with TLS from the first octet;"
        ' "0.0.0.0:993" and "[::]:993" on a real server. Empty: none.',
    )
    disabled_capabilities: list[str] = Field(
        [],
        description='Capabilities that are neither announced nor served, such as "CONDSTORE";'
        " for clients that stumble over one. A name takes with it what is written NAME=….",
    )
    disabled_for: dict[str, list[str]] = Field(
        {},
        description='The same for some only: {"anna@example.test" = ["COMPRESS"], "client:Foo Mail*" = ["QRESYNC"]}.'
        ' A key is the address of an account, or "client:" and the name that a mail program gives itself (ID), or'
        ' name/version; * and ? stand for any text and any character.',
    )
    namespace_prefix: str = Field(
        "",
        description='What every folder but INBOX begins with, for clients that knew this mail under "INBOX." before.'
        " Usually empty.",
    )
    separator: str = Field("/", description='What divides the parts of a folder name, as clients see it: "/" or ".".')
    other_users_prefix: str = Field(
        "Other Users",
        description="Under which name clients see what other accounts share with them, as in"
        " Other Users/ben@example.test/INBOX. Empty: not at all.",
    )
    shared_accounts: list[str] = Field(
        [],
        description='Accounts that belong to nobody in particular, such as "office@example.test": what they share is'
        " shown below shared_prefix, not among other users.",
    )
    shared_prefix: str = Field("Shared", description="Under which name clients see what the shared_accounts share.")
    anyone: bool = Field(
        True,
        description='Whether users may share a folder with "anyone", which is every account of this server.',
    )
    login_timeout: Duration = Field(180.0, ge=5, description="A client must log in within this time of connecting.")
    connections_per_account: int = Field(200, ge=1, description="Connections at one time of one account.")
    jmap_url: str = Field(
        "", max_length=500, pattern="^(https?://[!-~]+)?$",
        description="Where clients find the same mail by JMAP: the URL of its session resource, told by JMAPACCESS."
        " Empty: it is not told.",
    )
    compression_level: int = Field(
        3, ge=1, le=9, description="How well to compress for clients that ask for it (COMPRESS): 1 is fast, 9 slow.",
    )
    quota_administrators: list[str] = Field(
        [],
        description="Accounts that may see and set the limits of every account of this server from their mail program"
        " (QUOTASET); `mailserver account quota` does the same.",
    )
    server_comment: str = Field(
        "", max_length=1000, description="A note for users that mail programs can show (METADATA: /shared/comment)."
    )
    server_admin: str = Field(
        "", pattern=r"^([A-Za-z][A-Za-z0-9+.-]*:[!-~]+)?$", max_length=1000,
        description='How users reach the administrator, as a URL such as "mailto:postmaster@example.test"'
        " (METADATA: /shared/admin).",
    )
    submission_accounts: list[str] = Field(
        [],
        description="Accounts of submission servers: they may read what users authorized for submission (URLAUTH:"
        " submit+user).",
    )
    message_limit: int = Field(
        0, ge=0,
        description="How many messages one command (FETCH, SEARCH, STORE, COPY, MOVE, APPEND) works on, at least 1000"
        " (MESSAGELIMIT). 0: any number, as mail programs expect it: those that do not know of the limit take the part"
        " that they get for all.",
    )
    save_limit: int = Field(
        0, ge=0,
        description="The same for COPY and APPEND only (SAVELIMIT), which fail then. 0: any number.",
    )
    default_comparator: str = Field(
        CASEFOLD.name,
        description="How SEARCH, SORT and THREAD compare texts, unless a mail program selects something else"
        f" (COMPARATOR): {', '.join(one.name for one in COMPARATORS)}. The first one finds the most; those after it"
        " make SEARCH slower.",
    )
    id: bool = Field(True, description="Tell the name of this program in answer to ID; never its version.")

    @field_validator("listen", "listen_tls")
    @classmethod
    def _addresses(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            check_address(address)
        return addresses

    @field_validator("default_comparator")
    @classmethod
    def _comparator(cls, name: str) -> str:
        if all(name != one.name for one in COMPARATORS):
            raise ValueError(f"there is no comparator {name!r}")
        return name

    @field_validator("disabled_capabilities")
    @classmethod
    def _capabilities(cls, names: list[str]) -> list[str]:
        for name in names:
            if not _CAPABILITY.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a capability")
        return names

    @field_validator("disabled_for")
    @classmethod
    def _some(cls, table: dict[str, list[str]]) -> dict[str, list[str]]:
        for key, names in table.items():
            client = key[len(CLIENT) :].strip() if key.lower().startswith(CLIENT) else None
            if client == "" or (client is None and "@" not in key):
                raise ValueError(f'{key!r} is neither the address of an account nor "{CLIENT}" with a name')
            cls._capabilities(names)
        return table

    @field_validator("shared_accounts", "submission_accounts", "quota_administrators")
    @classmethod
    def _keys(cls, accounts: list[str]) -> list[str]:
        try:
            return [EmailAddress.parse(account).key for account in accounts]
        except InvalidInput as error:
            raise ValueError(error.text) from None

    @field_validator("other_users_prefix", "shared_prefix")
    @classmethod
    def _one_level(cls, prefix: str) -> str:
        if not _ONE_LEVEL.fullmatch(prefix) or prefix.strip() != prefix:
            raise ValueError("the name is up to 64 printable ASCII characters without wildcards, quotes and separators")
        return prefix

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.other_users_prefix and self.other_users_prefix.lower() == self.shared_prefix.lower():
            raise ValueError("other_users_prefix and shared_prefix must be different names")
        return self

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.message_limit and self.save_limit:
            raise ValueError("message_limit is for COPY and APPEND too: leave save_limit at 0")
        return self

    @field_validator("message_limit", "save_limit")
    @classmethod
    def _not_low(cls, limit: int) -> int:
        if 0 < limit < 1000:
            # RFC 9738 §3
            raise ValueError("a limit is at least 1000 messages; 0 is none")
        return limit

    @field_validator("separator")
    @classmethod
    def _one_of_two(cls, separator: str) -> str:
        if separator not in ("/", "."):
            raise ValueError('the separator is "/" or "."')
        return separator

    @field_validator("namespace_prefix")
    @classmethod
    def _plain(cls, prefix: str) -> str:
        if len(prefix) > 64 or not all(" " < c <= "~" and c not in '*%"\\&' for c in prefix):
            raise ValueError("a namespace prefix is up to 64 printable ASCII characters without wildcards and quotes")
        return prefix
