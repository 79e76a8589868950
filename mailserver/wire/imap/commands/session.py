"""The commands about the connection and the account."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "Authenticate", "Capability", "Comparator", "Compress", "Enable", "GetJmapAccess", "GetQuota", "GetQuotaRoot", "Id",
    "Idle", "Language", "Login", "Logout", "Namespace", "Noop", "SetQuota", "StartTls", "Unauthenticate",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Capability:
    """RFC 9051 §6.1.1."""


@dataclass(frozen=True, slots=True)
class Noop:
    """RFC 9051 §6.1.2."""


@dataclass(frozen=True, slots=True)
class Logout:
    """RFC 9051 §6.1.3."""


@dataclass(frozen=True, slots=True)
class Id:
    """RFC 2971 §3.1. `fields` is None for NIL; a value None is a NIL value. Field names are as typed."""

    fields: tuple[tuple[str, str | None], ...] | None


@dataclass(frozen=True, slots=True)
class StartTls:
    """RFC 9051 §6.2.1. Before answering OK, ask `ImapConnection.begin_tls`."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """RFC 9051 §6.2.2. `mechanism` in capitals; `initial_response` is None when absent, b"" for `=` (RFC 4959 §3)."""

    mechanism: str
    initial_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """RFC 9051 §6.2.3."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enable:
    """RFC 9051 §6.3.1. Names in capitals, as asked; unknown ones are ignored by the session."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """RFC 9051 §6.3.13. If it is granted: `ImapConnection.await_done`, then a continuation."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """RFC 9051 §6.3.10."""


@dataclass(frozen=True, slots=True)
class GetQuota:
    """RFC 9208 §4.1.1."""

    root: str


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    """RFC 9208 §4.1.2."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class SetQuota:
    """RFC 9208 §4.1.3. Resource names in capitals, limits as numbers (STORAGE counts units of 1,024 octets)."""

    root: str
    limits: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Compress:
    """RFC 4978 §3, with the one mechanism that there is, DEFLATE."""


@dataclass(frozen=True, slots=True)
class GetJmapAccess:
    """RFC 9698 §4."""


@dataclass(frozen=True, slots=True)
class Language:
    """RFC 5255 §3.2: language ranges in the order of preference; none asks which languages there are."""

    ranges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparator:
    """RFC 5255 §4.7: patterns of comparators in the order of preference, each perhaps with `+` or `-` in front; none
    asks which one is active."""

    orders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unauthenticate:
    """RFC 8437 §3."""
