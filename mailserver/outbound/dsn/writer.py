"""The report as a message (RFC 3464 §2, RFC 6522): multipart/report with a text, the facts, and the original's header.

It is made of nothing but the request, so a report that is written again after a crash is the same to the octet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailserver.mime.compose import unstructured
from mailserver.mime.dates import format_date
from mailserver.mime.multipart import join, make_part
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Body, Envelope, Notify, Recipient
from mailserver.outbound.dsn.english import ENGLISH
from mailserver.outbound.dsn.explanation import explain
from mailserver.outbound.dsn.fields import delivery_status, printable
from mailserver.outbound.dsn.language import Language
from mailserver.outbound.dsn.original import message_id, original_part
from mailserver.ports.reports import Action, Report, ReportedRecipient, ReportRequest

__all__ = ["DsnWriter"]

#: RFC 3461 §5.2: what NOTIFY must have for an action to be told of; and whether it is told where no NOTIFY was given.
_WANTED = {
    Action.FAILED: (Notify.FAILURE, True),
    Action.DELAYED: (Notify.DELAY, True),
    Action.DELIVERED: (Notify.SUCCESS, False),
    Action.RELAYED: (Notify.SUCCESS, False),
    Action.EXPANDED: (Notify.SUCCESS, False),
}
#: What the subject speaks of when a report has several actions: the worst.
_GRAVEST = (Action.FAILED, Action.DELAYED, Action.RELAYED, Action.EXPANDED, Action.DELIVERED)


class DsnWriter:
    """The ReportWriter (ports/reports.py) of this server.

    `hostname` is our name; reports come from the postmaster of the domain that `home` gives at that moment, one that we
    serve, so that an answer reaches a person; "" while there is none.
    """

    def __init__(self, *, hostname: str, home: Callable[[], str], language: Language = ENGLISH) -> None:
        self._hostname = hostname
        self._home = home
        self._language = language

    def write(self, request: ReportRequest) -> Report | None:
        """None when nobody is to be told."""
        sender = request.envelope.sender
        stranger = request.envelope.of_stranger
        told = tuple(one for one in request.recipients if _is_wanted(one, stranger=stranger))
        # RFC 5321 §4.5.5: never in answer to the null reverse-path.
        if sender is None or not told:
            return None
        # Who has such an address gets mail by SMTPUTF8, and that brings 8BITMIME along (RFC 6531 §3.2).
        utf8 = not str(sender).isascii()
        status_type = "message/global-delivery-status" if utf8 else "message/delivery-status"
        text = explain(request, told, self._hostname, self._language).replace("\n", "\r\n").encode()
        parts = [
            make_part("text/plain; charset=utf-8", "Notification", text, eight_bit=utf8),
            make_part(
                status_type, "Delivery report", delivery_status(request, told, self._hostname, utf8=utf8),
                eight_bit=utf8,
            ),
            original_part(request, eight_bit=utf8),
        ]  # fmt: skip
        boundary, body = join(parts, request.report_id)
        envelope = Envelope(
            sender=None,
            # RFC 3461 §6.1: NEVER is the one value that a report may have.
            recipients=(Recipient(address=sender, notify=frozenset({Notify.NEVER})),),
            body=Body.EIGHT_BIT_MIME if any(part.encoding == "8bit" for part in parts) else Body.SEVEN_BIT,
            smtputf8=utf8,
            # RFC 8689 §5: what is told of a message needs the protection of the message.
            require_tls=request.envelope.require_tls,
            own=True,
        )
        header = self._header(request, told, boundary, sender)
        return Report(envelope=envelope, content=header.encode() + body)

    def _header(
        self, request: ReportRequest, told: Sequence[ReportedRecipient], boundary: str, sender: EmailAddress
    ) -> str:
        action = next(action for action in _GRAVEST if any(one.action is action for one in told))
        lines = [
            f"Date: {format_date(request.at)}",
            f"From: Mail Delivery System <postmaster@{self._home() or self._hostname}>",
            f"To: <{sender}>",
            f"Subject: {unstructured(self._subject(action, told))}",
            f"Message-ID: <{request.report_id}.report@{self._hostname}>",
        ]
        original = message_id(request.head)
        if original:
            # RFC 3834 §3.1.6.
            lines += [f"In-Reply-To: {original}", f"References: {original}"]
        lines += [
            # RFC 3834 §5.2: not auto-generated, since it answers a message.
            "Auto-Submitted: auto-replied",
            f"Content-Language: {self._language.tag}",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',
        ]
        return "\r\n".join([*lines, "", ""])

    def _subject(self, action: Action, told: Sequence[ReportedRecipient]) -> str:
        meant = [one for one in told if one.action is action]
        who = printable(str(meant[0].recipient.address), 330)
        if len(meant) > 1:
            who = self._language.and_others.format(who=who, count=len(meant) - 1)
        return self._language.subjects[action].format(who=who)


def _is_wanted(one: ReportedRecipient, *, stranger: bool) -> bool:
    keyword, unasked = _WANTED[one.action]
    if not one.recipient.notify and stranger:
        # RFC 3461 §4.1 leaves it to us whether a delay is told unasked; to a return path that may be forged it is not.
        return one.action is Action.FAILED
    return keyword in one.recipient.notify if one.recipient.notify else unasked
