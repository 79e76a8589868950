"""The commands of RFC 4314 as values. Identifiers are in their one spelling (`model.rights`)."""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.model.rights import Rights, RightsChange

__all__ = ["DeleteAcl", "GetAcl", "ListRights", "MyRights", "SetAcl"]


@dataclass(frozen=True, slots=True)
class SetAcl:
    """RFC 4314 §3.1."""

    mailbox: str
    identifier: str
    how: RightsChange
    rights: Rights


@dataclass(frozen=True, slots=True)
class DeleteAcl:
    """RFC 4314 §3.2."""

    mailbox: str
    identifier: str


@dataclass(frozen=True, slots=True)
class GetAcl:
    """RFC 4314 §3.3."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class ListRights:
    """RFC 4314 §3.4; the answer says the identifier as it was `typed`."""

    mailbox: str
    identifier: str
    typed: str


@dataclass(frozen=True, slots=True)
class MyRights:
    """RFC 4314 §3.5."""

    mailbox: str
