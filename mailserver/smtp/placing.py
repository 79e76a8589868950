"""In which mailboxes the copies of a message go: the `place` hooks, asked once per recipient and account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailserver.hooks.contexts import LocalMailbox, PlaceContext, Placement, Session
from mailserver.hooks.dispatch import Hooks
from mailserver.mime.view import MessageView
from mailserver.model.envelope import Envelope
from mailserver.model.ids import QueueId
from mailserver.model.verdict import Reject
from mailserver.ports.store import Content, Target
from mailserver.smtp.copies import Copy
from mailserver.smtp.transaction import Destination

__all__ = ["REJECTS", "LocalPlace", "find_places"]

#: Where copies go that their account refused while the message was taken for others.
REJECTS = "Rejects"
_DEFAULT = Placement()
_QUARANTINE = Placement(mailbox="Junk", create=True)
_REFUSED = Placement(mailbox=REJECTS, create=True)


@dataclass(slots=True)
class LocalPlace:
    """One place in an account; `destinations` are the recipients that it serves, in order, at least one.

    `refused`: the account said no for good. What comes here is only for its user to look at, and if that cannot be
    done, the copy must not be tried again: nobody would judge it then, and the sender may be forged. `quarantined`:
    it must not come to the inbox when it is tried again. `leaves`: nothing is put there, it is only forwarded.
    """

    mailbox: LocalMailbox
    target: Target
    destinations: list[Destination] = field(default_factory=list)
    refused: bool = True
    quarantined: bool = True
    leaves: bool = True

    @property
    def destination(self) -> Destination:
        """The first of them."""
        return self.destinations[0]


async def find_places(
    hooks: Hooks,
    session: Session,
    queue_id: QueueId,
    envelope: Envelope,
    copies: Sequence[Copy],
    content: Content,
    view: MessageView,
) -> list[LocalPlace]:
    """Where each local copy goes; one copy for a mailbox that is reached in several ways.

    There is none for a mailbox whose account only forwards; hooks are asked for it all the same: they may answer.
    """
    found: dict[tuple[str, str], LocalPlace] = {}
    for copy in copies:
        mailbox = copy.mailbox
        placement: Placement | None = _REFUSED
        if copy.refusal is None:
            placement = await hooks.place(
                PlaceContext(
                    session=session, queue_id=queue_id, envelope=envelope, recipient=copy.destination.recipient,
                    account=mailbox.account, detail=mailbox.detail, quarantined=copy.quarantined, content=content,
                    message=view, findings=copy.findings,
                )
            )  # fmt: skip
        if placement is None:
            placement = _QUARANTINE if copy.quarantined else _DEFAULT
        place = found.get((mailbox.account, placement.mailbox))
        if place is None:
            # Our own notices are how a full account learns that it is full.
            target = Target(
                account=mailbox.account, mailbox=placement.mailbox, flags=placement.flags, create=placement.create,
                enforce_quota=not envelope.own,
            )  # fmt: skip
            place = found[mailbox.account, placement.mailbox] = LocalPlace(mailbox, target)
        place.refused = place.refused and isinstance(copy.refusal, Reject)
        place.quarantined = place.quarantined and (copy.quarantined or copy.refusal is not None)
        place.leaves = place.leaves and copy.leaves
        place.destinations.append(copy.destination)
    return [place for place in found.values() if not place.leaves]
