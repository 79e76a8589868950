"""Return addresses (Sender Rewriting Scheme).

    SRS0=<hash>=<day>=<domain>=<local part>@ours        for a@b: a message of theirs that we forward
    SRS0=<hash>=<day>==<name>@ours                      the same when that is too long: `name` is kept here
    SRS1=<hash>=<first>==<rest>@ours                    for SRS0=<rest>@first: somebody forwarded it before us

The hash is an HMAC over all that follows it, in lower case, since servers on the way may fold it; only we can make one,
so nobody gets mail through us to an address of his choice. `day` counts days modulo 1,024 in two digits of base 32.
SRS1 has none: the first forwarder checks his own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from mailserver import api
from mailserver.plugins.srs.long_names import LongNames

__all__ = ["VALID_DAYS", "Rewriting", "is_rewritten"]

#: Longer than anybody's queue tries.
VALID_DAYS = 21
_DAY = 86400.0
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
#: 40 bits: guessing one in the three weeks that it is good takes 600,000 tries a second.
_HASH_LENGTH = 8
#: RFC 5321 §4.5.3.1.1.
_MOST_LOCAL = 64
_MARKS = ("srs0", "srs1")
_SEPARATORS = "=-+"


def is_rewritten(address: api.EmailAddress) -> bool:
    """Does the local part look like one of these, whoever made it?"""
    local = address.local
    return local[:4].lower() in _MARKS and local[4:5] in tuple(_SEPARATORS)


class Rewriting:
    """Makes return addresses with the first of `secrets`, and believes those made with any of them."""

    def __init__(self, secrets: Sequence[bytes], names: LongNames, clock: api.Clock) -> None:
        self._secrets = tuple(secrets)
        self._names = names
        self._clock = clock

    async def rewrite(self, sender: api.EmailAddress, domain: str) -> api.EmailAddress:
        """The return address at `domain` for a message of `sender`. Raises StorageFailure."""
        local = self._again(sender) if is_rewritten(sender) else ""
        local = local or self._mark(f"{self._today()}={sender.domain}={sender.local}")
        if len(local.encode()) > _MOST_LOCAL:
            local = self._mark(f"{self._today()}=={await self._names.keep(str(sender))}")
        return api.EmailAddress(local, domain)

    async def restore(self, address: api.EmailAddress) -> api.EmailAddress | None:
        """Whose return address it is; None when it was not made here, or too long ago."""
        mark, hashed, rest = address.local[:4].lower(), *_cut(address.local[5:])
        if not any(hmac.compare_digest(self._hash(secret, mark, rest), hashed.lower()) for secret in self._secrets):
            return None
        if mark == "srs1":
            first, inner = _cut(rest)
            return _address(f"SRS0{inner}", first) if inner[:1] in tuple(_SEPARATORS) else None
        day, rest = _cut(rest)
        if not self._in_time(day):
            return None
        domain, local = _cut(rest)
        if not domain:
            kept = await self._names.find(local)
            return None if kept is None else api.EmailAddress.parse(kept)
        return _address(local, domain)

    def _again(self, sender: api.EmailAddress) -> str:
        """For a sender that somebody rewrote before us; "" when it only looks so."""
        if sender.local[:4].lower() == "srs0":
            return self._mark(f"{sender.domain}={sender.local[4:]}", "SRS1")
        first, inner = _cut(_cut(sender.local[5:])[1])
        return self._mark(f"{first}={inner}", "SRS1") if first and inner[:1] in tuple(_SEPARATORS) else ""

    def _mark(self, rest: str, mark: str = "SRS0") -> str:
        return f"{mark}={self._hash(self._secrets[0], mark.lower(), rest)}={rest}"

    @staticmethod
    def _hash(secret: bytes, mark: str, rest: str) -> str:
        digest = hmac.digest(secret, f"{mark}={rest}".lower().encode(), hashlib.sha256)
        return base64.b32encode(digest).decode("ascii").lower()[:_HASH_LENGTH]

    def _today(self) -> str:
        day = int(self._clock.time() // _DAY) % 1024
        return _DIGITS[day >> 5] + _DIGITS[day & 31]

    def _in_time(self, day: str) -> bool:
        digits = [_DIGITS.find(digit) for digit in day.lower()]
        if len(digits) != 2 or min(digits) < 0:
            return False
        age = int(self._clock.time() // _DAY) - (digits[0] * 32 + digits[1])
        # One day ahead: the clock may have been set back a little.
        return (age + 1) % 1024 <= VALID_DAYS + 1


def _cut(text: str) -> tuple[str, str]:
    head, _, rest = text.partition("=")
    return head, rest


def _address(local: str, domain: str) -> api.EmailAddress | None:
    """None: no address, which only a hash of ours over nonsense could be."""
    try:
        return api.EmailAddress.parse(str(api.EmailAddress(local, domain)))
    except api.InvalidInput:
        return None
