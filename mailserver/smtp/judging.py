"""What each account says of a message that the server as a whole would take: the `delivery` hooks, before 250."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.hooks.contexts import DeliveryContext
from mailserver.hooks.dispatch import Hooks
from mailserver.model.verdict import Accept, Defer, Quarantine, Reject
from mailserver.smtp.copies import Copy
from mailserver.smtp.keeping import Message

__all__ = ["judge", "refusal_of"]


async def judge(hooks: Hooks, message: Message, verdict: Accept | Quarantine) -> list[Copy]:
    """Ask for each local copy, also for one that the queue will bring; `verdict` is that on the whole message."""
    quarantined = isinstance(verdict, Quarantine) and not message.session.trusted
    found = []
    for destination in message.destinations:
        for mailbox in destination.local:
            answer = await hooks.delivery(
                DeliveryContext(
                    session=message.session, queue_id=message.queue_id, envelope=message.envelope,
                    recipient=destination.recipient, account=mailbox.account, detail=mailbox.detail,
                    content=message.content, message=message.view, quarantined=quarantined,
                    findings=verdict.findings,
                )
            )  # fmt: skip
            found.append(
                Copy(
                    destination=destination, mailbox=mailbox,
                    quarantined=quarantined or isinstance(answer, Quarantine),
                    findings=verdict.findings + answer.findings,
                    refusal=answer if isinstance(answer, Reject | Defer) else None,
                )
            )  # fmt: skip
    return found


def refusal_of(message: Message, copies: Sequence[Copy]) -> Reject | Defer | None:
    """The reply when nobody at all wants the message: "later" if one says so, since that one may take it then."""
    wanted = any(destination.remote for destination in message.destinations)
    if wanted or not copies or not all(copy.refusal for copy in copies):
        return None
    refusals = [copy.refusal for copy in copies if copy.refusal is not None]
    return next((refusal for refusal in refusals if isinstance(refusal, Defer)), refusals[0])
