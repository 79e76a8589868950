"""The address to answer to: `confirm+<question>.<MAC>@<domain of the alias>`.

The key of the MAC is made for each question and never leaves `accounts.db`; what it is of binds the answer to this
alias and this target. Everything is lower case, since programs on the way fold local parts.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import replace

from mailserver import api

__all__ = ["is_token", "make_pending", "make_token", "make_unasked", "matches", "request_of"]

_TOKEN = re.compile(r"confirm\+([0-9a-f]{16})\.([0-9a-f]{32})", re.IGNORECASE)


def make_pending(target: api.EmailAddress, until: float, earlier: api.Pending | None = None) -> api.Pending:
    """A question; asked once more, it has the same answer as the `earlier` one."""
    if earlier is not None:
        return replace(earlier, until=until)
    return api.Pending(target=target, request=secrets.token_hex(8), secret=secrets.token_bytes(32), until=until)


def make_unasked(target: api.EmailAddress) -> api.Pending:
    """For a target whose owner is not asked, since it is ours or trusted. When it is so no more, he did not agree."""
    return make_pending(target, api.UNASKED)


def make_token(alias: api.EmailAddress, asked: api.Pending) -> api.EmailAddress:
    """Where the answer to it goes."""
    return api.EmailAddress(f"confirm+{asked.request}.{_mac(alias, asked)}", alias.domain)


def is_token(address: api.EmailAddress) -> bool:
    """Has it the form of such an address?"""
    return _TOKEN.fullmatch(address.local) is not None


def request_of(address: api.EmailAddress) -> str:
    """The question that such an address names."""
    match = _TOKEN.fullmatch(address.local)
    return match[1].lower() if match else ""


def matches(address: api.EmailAddress, alias: api.Alias, asked: api.Pending) -> bool:
    """Is it the address for the answer to this question?"""
    expected = make_token(alias.address, asked)
    return hmac.compare_digest(address.key.encode(), expected.key.encode())


def _mac(alias: api.EmailAddress, asked: api.Pending) -> str:
    return hmac.digest(asked.secret, f"{alias.key}\0{asked.target.key}".encode(), "sha256")[:16].hex()
