"""What we know about an SMTP connection, and what it has already cost us."""

from __future__ import annotations

import ssl
from dataclasses import replace

from mailserver.hooks.contexts import Session
from mailserver.model.ids import AccountId, new_session_id
from mailserver.net.starttls import tls_facts

__all__ = ["SmtpSession"]


class SmtpSession:
    """`facts` is what hooks get to see: a new value after each change, the same one in between."""

    __slots__ = ("errors", "facts", "junk", "malformed")

    def __init__(
        self, service: str, peer: tuple[str, int], local_port: int, *, trusted: bool, tls: ssl.SSLObject | None
    ) -> None:
        secure = tls_facts(tls)
        self.facts = Session(
            session=new_session_id(), service=service, peer=peer[0], port=peer[1], local_port=local_port,
            tls=secure.version, tls_cipher=secure.cipher, trusted=trusted, certificate=secure.certificate,
            channel_binding=secure.channel_binding,
        )  # fmt: skip
        #: Commands that got 4xx or 5xx, and commands without effect, since the last message that was accepted.
        self.errors = 0
        self.junk = 0
        #: Lines with control characters, ever.
        self.malformed = 0

    def greeted(self, helo: str, *, esmtp: bool) -> None:
        """EHLO or HELO."""
        self.facts = replace(self.facts, helo=helo, esmtp=esmtp)

    def secured(self, tls: ssl.SSLObject | None) -> None:
        """STARTTLS succeeded: nothing that was said before counts any more (RFC 3207 §4.2)."""
        secure = tls_facts(tls)
        self.facts = replace(
            self.facts, tls=secure.version or "TLS", tls_cipher=secure.cipher, certificate=secure.certificate,
            channel_binding=secure.channel_binding, helo="", esmtp=False, account=None,
        )  # fmt: skip

    def logged_in(self, account: AccountId) -> None:
        """AUTH succeeded."""
        self.facts = replace(self.facts, account=account)

    def made_progress(self) -> None:
        """A message was accepted."""
        self.errors = self.junk = 0
