"""Requests for delivery status notifications, and reports taken apart by an independent reader (CPython's email)."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import Any

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result
from mailserver.model.envelope import Envelope, Notify, Recipient
from mailserver.model.ids import AccountId, QueueId
from mailserver.outbound.dsn.writer import DsnWriter
from mailserver.ports.reports import Action, Report, ReportedRecipient, ReportRequest

__all__ = ["ARRIVED", "HEAD", "WRITER", "address", "failed", "make_request", "read", "told", "write"]

ARRIVED = 1_795_168_800
HEAD = b"Message-ID: <one@example.test>\r\nFrom: anna@example.test\r\nSubject: Holiday plans\r\n\r\nHello.\r\n"
WRITER = DsnWriter(hostname="mx.example.test", home=lambda: "example.test")


def address(text: str) -> EmailAddress:
    return EmailAddress.parse(text)


def failed(**fields: Any) -> Result:
    """A refusal by a server."""
    given: dict[str, Any] = {
        "outcome": Outcome.FAILED, "status": "5.1.1", "code": 550, "reply": "5.1.1 User unknown",
        "remote": "mx.far.test", "address": "192.0.2.25",
    }  # fmt: skip
    return Result(**(given | fields))


def told(to: str | EmailAddress = "bob@far.test", action: Action = Action.FAILED, **fields: Any) -> ReportedRecipient:
    """One recipient of a report; `notify` and `original_recipient` are those of the envelope."""
    recipient = Recipient(
        address=address(to) if isinstance(to, str) else to,
        notify=frozenset(Notify(word) for word in fields.pop("notify", "").split()),
        original_recipient=fields.pop("original_recipient", None),
    )
    given: dict[str, Any] = {"result": failed(), "at": ARRIVED + 60}
    return ReportedRecipient(recipient=recipient, action=action, **(given | fields))


def make_request(
    *recipients: ReportedRecipient, sender: str | None = "anna@example.test", **fields: Any
) -> ReportRequest:
    """A request; fields of the envelope go there."""
    of_envelope = {name: fields.pop(name) for name in list(fields) if name in Envelope.__dataclass_fields__}
    of_envelope.setdefault("account", AccountId("anna@example.test"))
    head = fields.pop("head", HEAD)
    given: dict[str, Any] = {
        "report_id": QueueId("0report"), "queue_id": QueueId("0original"), "arrived": ARRIVED, "at": ARRIVED + 120,
        "head": head, "size": len(head), "recipients": recipients or (told(),),
        "envelope": Envelope(sender=address(sender) if sender else None, **of_envelope),
    }  # fmt: skip
    return ReportRequest(**(given | fields))


def write(*recipients: ReportedRecipient, **fields: Any) -> Report:
    """A report that must be written."""
    report = WRITER.write(make_request(*recipients, **fields))
    assert report is not None
    return report


def read(report: Report) -> tuple[EmailMessage, str, list[EmailMessage], EmailMessage]:
    """The message, its text, its groups of fields (of the message, then of each recipient), the original's part."""
    message = email.message_from_bytes(report.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    text, status, original = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    groups = status.get_payload()
    assert isinstance(groups, list)
    return message, text.get_content().replace("\r\n", "\n"), groups, original  # type: ignore[return-value]
