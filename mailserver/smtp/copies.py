"""The copies of a message that go to accounts here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailserver.hooks.contexts import LocalMailbox
from mailserver.model.envelope import Envelope
from mailserver.model.findings import NOTHING, Findings, Judgement
from mailserver.model.ids import AccountId
from mailserver.model.verdict import Defer, Reject
from mailserver.smtp.transaction import Destination

__all__ = ["Copy", "copies_for", "judgements_on"]


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


def copies_for(destinations: Iterable[Destination], envelope: Envelope) -> list[Copy]:
    """The copies of a message from the queue, with what was said of them when it came; not those that were refused."""
    found = []
    for destination in destinations:
        for mailbox in destination.local:
            known = envelope.judgement(mailbox.account) or Judgement()
            if not known.refusal:
                findings = known.findings or NOTHING
                found.append(
                    Copy(destination=destination, mailbox=mailbox, quarantined=known.quarantined, findings=findings)
                )
    return found


def judgements_on(copies: Iterable[Copy]) -> tuple[Judgement, ...]:
    """What the queue is to know of them. Of several of one account the one that got furthest counts."""
    found: dict[AccountId, Judgement] = {}
    for copy in copies:
        judgement = Judgement(
            account=copy.mailbox.account, findings=copy.findings, quarantined=copy.quarantined,
            refusal="" if copy.refusal is None else copy.refusal.reply.text,
        )
        known = found.get(copy.mailbox.account)
        if known is None or _severity(judgement) < _severity(known):
            found[copy.mailbox.account] = judgement
    return tuple(found.values())


def _severity(judgement: Judgement) -> tuple[bool, bool]:
    return bool(judgement.refusal), judgement.quarantined
