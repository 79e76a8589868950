"""What a server's reply means for a recipient and for the destination (RFC 5321 §4.2.1, RFC 3463).

The first digit of the code decides, and the enhanced code may only make it milder: a reply of which either half says
"for now" is for now, because a second attempt costs little and a wrong bounce loses mail. A refusal of our address is
for now, too, whatever its code: the operator can get an address off a list, and the mail waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.model.delivery import Feedback, Outcome
from mailserver.outbound.blocklists import about_our_address, asks_for_less
from mailserver.wire.smtp_client.replies import RemoteReply
from mailserver.wire.smtp_client.transaction import Stage

__all__ = ["Judgement", "judge", "too_many_recipients"]

_CLOSING = 421
#: RFC 4954 §6, RFC 3207 §4: a login or TLS is wanted first; that is between the servers' operators.
_NEEDS_MORE = 530
_BEFORE_RECIPIENTS = (Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH, Stage.RSET, Stage.MAIL)


@dataclass(frozen=True, slots=True)
class Judgement:
    """`status` begins with 2, 4 or 5 as the outcome demands."""

    outcome: Outcome
    status: str
    feedback: Feedback


def judge(stage: Stage, reply: RemoteReply) -> Judgement:
    """What the reply to this stage's command decides."""
    if reply.positive and stage is Stage.END:
        status = reply.status
        return Judgement(Outcome.DELIVERED, status if status[:1] == "2" else "2.0.0", Feedback.FINE)
    kind, status, text = reply.code // 100, reply.status, reply.text
    rest = status[1:] or ".0.0"
    if kind not in (4, 5):
        return Judgement(Outcome.DEFERRED, "4.5.0", Feedback.FINE)
    if about_our_address(text, stage):
        return Judgement(Outcome.DEFERRED, f"4{rest}", Feedback.BLOCKED)
    if kind == 4 or status[:1] in ("2", "4") or reply.code == _NEEDS_MORE:
        busy = reply.code == _CLOSING or stage in _BEFORE_RECIPIENTS or asks_for_less(text, status)
        return Judgement(Outcome.DEFERRED, f"4{rest}", Feedback.BUSY if busy else Feedback.FINE)
    return Judgement(Outcome.FAILED, f"5{rest}", Feedback.FINE)


def too_many_recipients(reply: RemoteReply) -> bool:
    """RFC 5321 §4.5.3.1.10: the rest of them belong into another transaction; some say 552 for 452."""
    return reply.code in (452, 552) and (
        reply.status[1:] == ".5.3" or (not reply.status and "recipients" in reply.text.lower())
    )
