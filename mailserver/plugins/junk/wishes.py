"""What an account wants: its own numbers of points, senders whom it allows and blocks. Values, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass

from mailserver import api

__all__ = ["Sender", "Thresholds", "parse_pattern", "patterns_of"]

ALLOW, BLOCK = "allow", "block"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many points on a message goes to Junk, and is refused; 0 means never, None as the settings say."""

    junk: float | None
    reject: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One entry of an account's list. `pattern` is the key of an address, or `@domain` for it and all below it."""

    account: api.AccountId
    pattern: str
    action: str
    since: float


def parse_pattern(text: str) -> str:
    """`bob@far.test`, `far.test` or `@far.test` as a pattern. Raises InvalidInput."""
    local, at, domain = text.strip().rpartition("@")
    if at and local:
        return api.EmailAddress.parse(text.strip()).key
    normal = api.normalize_domain(domain)
    if "." not in normal or normal.startswith("["):
        # One word for a whole top-level domain is a slip far more often than a wish.
        raise api.InvalidInput(f"{domain or 'that'} is no domain of anybody: write bob@example.org, or example.org")
    return f"@{normal}"


def patterns_of(address: api.EmailAddress) -> list[str]:
    """The patterns that an address matches, the narrowest first; at most 128, as many as a domain has labels."""
    labels = address.domain.split(".")
    return [address.key, *("@" + ".".join(labels[at:]) for at in range(max(1, len(labels) - 1)))]
