"""What a server's reply means for a recipient and for the destination (RFC 5321 §4.2.1, RFC 3463).

The first digit of the code decides, and the enhanced code may only make it milder: a reply of which either half says
"for now" is for now, because a second attempt costs little and a wrong bounce loses mail. A refusal of our address, or
of how much it sends, is for now, too, whatever its code: the operator can get an address off a list, and the mail waits
for it. What servers mean by their words is in `wire/refusal.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailserver.model.delivery import Feedback, Outcome
from mailserver.wire.refusal import Cause, cause_of, own_words
from mailserver.wire.smtp_client.replies import RemoteReply
from mailserver.wire.smtp_client.transaction import Stage

__all__ = ["Judgement", "judge", "too_many_recipients"]

_CLOSING = 421
#: RFC 4954 §6, RFC 3207 §4: a login or TLS is wanted first; that is between the servers' operators.
_NEEDS_MORE = 530
_BEFORE_RECIPIENTS = (Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH, Stage.RSET, Stage.MAIL)
#: By the time of these replies a server has seen the message, and may mean that one by its words.
_WITH_MESSAGE = (Stage.DATA, Stage.CONTENT, Stage.END)
_ADDRESS = re.compile(r"\bip\b|\bnetwork\b|client host|\b\d{1,3}(?:\.\d{1,3}){3}\b", re.IGNORECASE)
_OF_MESSAGE = re.compile(
    r"\bdbl\b|surbl|uribl|\burls?\b|\blinks?\b|message content|content of|sending domain", re.IGNORECASE
)
#: Limits that a server sets because of what it thinks of our address (Gmail, Yahoo): it is best left alone for a while.
_DISTRUST = re.compile(r"4\.7\.28|unusual rate|unexpected volume|user complaints|\[TSS?\d", re.IGNORECASE)
_REJECTED = re.compile(r"client host rejected(?!: cannot find)", re.IGNORECASE)


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
    if reply.code // 100 not in (4, 5):
        return Judgement(Outcome.DEFERRED, "4.5.0", Feedback.FINE)
    status, feedback = reply.status, _feedback(stage, reply)
    for_now = (
        reply.code < 500
        or status[:1] in ("2", "4")
        or reply.code == _NEEDS_MORE
        or feedback is not Feedback.FINE
        or (stage is Stage.RCPT and too_many_recipients(reply))
    )
    return Judgement(
        Outcome.DEFERRED if for_now else Outcome.FAILED, ("4" if for_now else "5") + (status[1:] or ".0.0"), feedback
    )


def _feedback(stage: Stage, reply: RemoteReply) -> Feedback:
    """What a refusal says of the destination."""
    words = str(reply)
    cause = cause_of(reply.status, reply.code, words)
    words = own_words(words)
    about_us = stage not in _WITH_MESSAGE or (_ADDRESS.search(words) and not _OF_MESSAGE.search(words))
    if about_us and (cause is Cause.BLOCK_LIST or _REJECTED.search(words)):
        return Feedback.BLOCKED
    if cause is Cause.TOO_FAST:
        return Feedback.BLOCKED if _DISTRUST.search(words) else Feedback.BUSY
    if reply.code == _CLOSING or (reply.code < 500 and stage in _BEFORE_RECIPIENTS):
        return Feedback.BUSY
    return Feedback.BUSY if reply.code < 500 and reply.status == "4.4.5" else Feedback.FINE


def too_many_recipients(reply: RemoteReply) -> bool:
    """RFC 5321 §4.5.3.1.10: the rest of them belong into another transaction; some say 552 for 452."""
    return reply.code in (452, 552) and (
        reply.status[1:] == ".5.3" or (not reply.status and "recipients" in reply.text.lower())
    )
