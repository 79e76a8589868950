"""The copies of a message that go to accounts here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailserver.hooks.contexts import LocalMailbox
from mailserver.model.findings import NOTHING, Findings
from mailserver.model.verdict import Defer, Reject
from mailserver.smtp.transaction import Destination

__all__ = ["Copy", "copies_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One account's copy of a message, and what was said of it. `refusal`: this account does not want it; `leaves`: its
    forward has it, and its mailbox keeps none."""

    destination: Destination
    mailbox: LocalMailbox
    quarantined: bool = False
    findings: Findings = NOTHING
    refusal: Reject | Defer | None = None
    leaves: bool = False


def copies_for(destinations: Iterable[Destination], *, quarantined: bool) -> list[Copy]:
    """The copies of a message that nobody judges (any more)."""
    return [
        Copy(destination=destination, mailbox=mailbox, quarantined=quarantined)
        for destination in destinations
        for mailbox in destination.local
    ]
