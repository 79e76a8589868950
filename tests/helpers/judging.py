"""A stranger's message on its way to an account, as the checks of incoming mail see it."""

from __future__ import annotations

from typing import Any

from mailserver.hooks.contexts import DeliveryContext, MessageContext, RcptContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.findings import AuthResult, Findings, Reason
from mailserver.model.ids import AccountId, QueueId
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_session

__all__ = ["ANNA", "BEN", "arriving", "delivering", "dkim", "dmarc", "naming", "points", "proofs", "spf", "text"]

ANNA, BEN = AccountId("anna@example.test"), AccountId("ben@example.test")


def text(author: str = "Bob <bob@far.test>", body: str = "text", **fields: str) -> bytes:
    """A message."""
    given = {"From": author, "Subject": "Hello", "Message-ID": "<m1@far.test>"} | {
        name.replace("_", "-"): value for name, value in fields.items()
    }
    header = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{header}\r\n{body}\r\n".encode()


def points(number: float, check: str = "test") -> Findings:
    """A reason of some check."""
    return Findings((), (Reason(check, number, "Somebody said so"),))


def proofs(*results: AuthResult) -> Findings:
    """What SPF and the like found."""
    return Findings(results)


def dmarc(domain: str, result: str = "pass") -> AuthResult:
    return AuthResult(method="dmarc", result=result, properties=(("header.from", domain),))


def dkim(domain: str, result: str = "pass") -> AuthResult:
    return AuthResult(method="dkim", result=result, properties=(("header.d", domain),))


def spf(domain: str, result: str = "pass") -> AuthResult:
    return AuthResult(method="spf", result=result, properties=(("smtp.mailfrom", domain),))


def delivering(
    message: bytes = b"", findings: Findings | None = None, to: AccountId = ANNA, *, sender: str = "bob@far.test",
    quarantined: bool = False, **session: Any,
) -> DeliveryContext:  # fmt: skip
    """It is about to be delivered."""
    recipient = Recipient(address=EmailAddress.parse(to))
    return DeliveryContext(
        session=make_session(**session), queue_id=QueueId("q1"), recipient=recipient, account=to, detail="",
        envelope=Envelope(sender=EmailAddress.parse(sender) if sender else None, recipients=(recipient,)),
        content=BytesContent(message or text()), quarantined=quarantined, findings=findings or Findings(),
    )  # fmt: skip


def arriving(
    message: bytes = b"", findings: Findings | None = None, to: str = ANNA, *, sender: str = "bob@far.test",
    **session: Any,
) -> MessageContext:  # fmt: skip
    """It is there as a whole."""
    return MessageContext(
        session=make_session(**session), queue_id=QueueId("q1"), content=BytesContent(message or text()),
        envelope=Envelope(
            sender=EmailAddress.parse(sender) if sender else None,
            recipients=(Recipient(address=EmailAddress.parse(to)),),
        ),
        findings=findings or Findings(),
    )  # fmt: skip


def naming(to: str, findings: Findings | None = None, **session: Any) -> RcptContext:
    """RCPT TO."""
    return RcptContext(
        session=make_session(**session), envelope=Envelope(sender=EmailAddress.parse("bob@far.test")),
        recipient=Recipient(address=EmailAddress.parse(to)), findings=findings or Findings(),
    )  # fmt: skip
