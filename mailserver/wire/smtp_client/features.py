"""What a server offers: its answer to EHLO (RFC 5321 §4.1.1.1), as far as a sender has a use for it.

A keyword that is not well-formed is as good as absent. Everything that was known before STARTTLS or AUTH is forgotten:
there is one `Features` per EHLO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["HELO", "Features"]

_LIMIT = re.compile(r"([A-Z0-9_-]+)(?:=([\x21-\x3a\x3c-\x7e]+))?")
_LIMIT_VALUE = re.compile(r"[1-9][0-9]{0,5}")
_SIZE = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """`size` is the largest message in octets, 0: not told. The three limits are RFC 9422's, 0: none."""

    esmtp: bool = True
    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    require_tls: bool = False
    size_known: bool = False
    size: int = 0
    auth: frozenset[str] = frozenset()
    recipients: int = 0
    messages: int = 0
    domains: int = 0

    @classmethod
    def parse(cls, lines: Iterable[bytes]) -> Features:
        """Read the lines of a positive reply to EHLO; the first one is the server's name."""
        found: dict[str, str] = {}
        auth: set[str] = set()
        for number, line in enumerate(lines):
            if number == 0:
                continue
            keyword, _, parameters = line.decode("latin-1").strip().upper().partition(" ")
            if keyword.startswith("AUTH="):  # what some servers say for clients of the last century
                keyword, parameters = "AUTH", f"{keyword[5:]} {parameters}"
            if keyword == "AUTH":
                auth.update(parameters.split())
            found.setdefault(keyword, parameters.strip())
        limits = _limits(found.get("LIMITS", ""))
        size = found.get("SIZE", "")
        return cls(
            pipelining="PIPELINING" in found,
            chunking="CHUNKING" in found,
            eight_bit="8BITMIME" in found,
            smtputf8="SMTPUTF8" in found,
            dsn="DSN" in found,
            starttls="STARTTLS" in found,
            require_tls="REQUIRETLS" in found,
            size_known="SIZE" in found,
            size=int(size) if _SIZE.fullmatch(size) else 0,
            auth=frozenset(auth),
            recipients=limits.get("RCPTMAX", 0),
            messages=limits.get("MAILMAX", 0),
            domains=limits.get("RCPTDOMAINMAX", 0),
        )


def _limits(text: str) -> dict[str, int]:
    """RFC 9422 §3.7: bad syntax of the whole and it is not there; a bad value, and that limit is not there."""
    found: dict[str, int] = {}
    for word in text.split():
        match = _LIMIT.fullmatch(word)
        if match is None:
            return {}
        if match[2] and _LIMIT_VALUE.fullmatch(match[2]):
            found.setdefault(match[1], int(match[2]))
    return found


#: A server that knows HELO only.
HELO = Features(esmtp=False)
