"""Mail from other servers (port 25): for our own domains only, and within bounds."""

from __future__ import annotations

from mailserver.mime.auth_results import ClaimRemoval
from mailserver.model.envelope import Recipient
from mailserver.model.reply import Reply
from mailserver.smtp.headercheck import check_header
from mailserver.smtp.intake import ContentFilter, Intake
from mailserver.smtp.receiver import Parts, Receiver
from mailserver.smtp.session import SmtpSession
from mailserver.smtp.settings import SmtpSettings
from mailserver.smtp.transaction import Destination, Transaction

__all__ = ["Ingress"]

_RELAY_DENIED = Reply(550, "5.7.1", "Relaying is denied: this server takes no mail for that domain")


class Ingress(Receiver):
    """No relaying for anyone, whatever form the address has (ATTACKS E01, E02); no AUTH."""

    service = "smtp"

    def __init__(self, parts: Parts, settings: SmtpSettings) -> None:
        super().__init__(parts)
        self.normalize = settings.bare_newline == "normalize"
        self.greet_delay = settings.greet_delay

    def offers_dsn(self, session: SmtpSession) -> bool:
        """Not to strangers: with a forged return path they would have us write, in our name, to whom they please."""
        return session.facts.trusted

    def outside(self, session: SmtpSession, recipient: Recipient) -> Destination | Reply:
        """Never."""
        return _RELAY_DENIED

    def content_filter(self) -> ContentFilter:
        """Only we say what we found out (RFC 8601 §5, ATTACKS L11): what claims to be ours now is forged, or old."""
        return ClaimRemoval(self.parts.hostname, self.parts.limits.header_field)

    async def check_message(self, session: SmtpSession, transaction: Transaction, intake: Intake) -> Reply | None:
        """Loops and oversized headers."""
        return check_header(intake.content.head(), self.parts.limits)
