"""What we know about an SMTP connection, and what it has already cost us."""

from __future__ import annotations

import ssl
from dataclasses import replace

from mailserver.hooks.contexts import Session
from mailserver.model.address import EmailAddress
from mailserver.model.findings import NOTHING, Findings
from mailserver.model.ids import AccountId
from mailserver.net.facts import secured
from mailserver.smtp.local_users import LocalUser

__all__ = ["SmtpSession"]


class SmtpSession:
    """`facts` is what hooks get to see: a new value after each change, the same one in between."""

    __slots__ = ("author", "errors", "facts", "found_at_connect", "found_at_helo", "junk", "local", "malformed")

    def __init__(self, facts: Session) -> None:
        self.facts = facts
        #: By the hooks.
        self.found_at_connect: Findings = NOTHING
        self.found_at_helo: Findings = NOTHING
        #: Commands that got 4xx or 5xx, and commands without effect, since the last message that was accepted.
        self.errors = 0
        self.junk = 0
        #: Lines with control characters, ever.
        self.malformed = 0
        #: A user of this machine, and the sender of the message in hand as it was given.
        self.local: LocalUser | None = None
        self.author: EmailAddress | None = None

    def greeted(self, helo: str, *, esmtp: bool) -> None:
        """EHLO or HELO."""
        self.facts = replace(self.facts, helo=helo, esmtp=esmtp)

    def secured(self, tls: ssl.SSLObject | None) -> None:
        """STARTTLS succeeded."""
        self.facts = secured(self.facts, tls)

    def logged_in(self, account: AccountId) -> None:
        """AUTH succeeded."""
        self.facts = replace(self.facts, account=account)

    def identified(self, user: LocalUser) -> None:
        """The kernel told who is at the other end of a Unix socket."""
        self.local = user
        self.facts = replace(self.facts, user=user.name, account=AccountId(user.address.key))

    def made_progress(self) -> None:
        """A message was accepted."""
        self.errors = self.junk = 0
