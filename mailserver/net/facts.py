"""What is known of a client and its connection, for the hooks and for logins."""

from __future__ import annotations

import ssl
from dataclasses import replace

from mailserver.hooks.contexts import Session
from mailserver.hooks.dispatch import Hooks
from mailserver.model.events import Misbehaved
from mailserver.model.ids import new_session_id
from mailserver.net.tls import certificate_addresses, end_point

__all__ = ["secured", "session_facts", "tell_misbehaviour"]


def session_facts(
    service: str, peer: tuple[str, int], local: object, *, trusted: bool, tls: ssl.SSLObject | None
) -> Session:
    """The facts of a new session; `peer` is its address and port, `local` what the socket says of its own end."""
    port = local[1] if isinstance(local, tuple) and len(local) >= 2 else 0
    facts = Session(
        session=new_session_id(), service=service, peer=peer[0], port=peer[1], local_port=port, trusted=trusted
    )
    return secured(facts, tls)


def secured(facts: Session, tls: ssl.SSLObject | None) -> Session:
    """Behind TLS, when there is some: what was said before it counts no more (RFC 3207 §4.2, RFC 9051 §6.2.1)."""
    if tls is None:
        return facts
    cipher = tls.cipher()
    return replace(
        facts, tls=tls.version() or "TLS", tls_cipher=cipher[0] if cipher else "",
        certificate=certificate_addresses(tls), channel_binding=end_point(tls), helo="", esmtp=False, account=None,
    )  # fmt: skip


def tell_misbehaviour(hooks: Hooks, facts: Session, kind: str) -> None:
    """Tell observers that a stranger is sent away for what it did; the kinds are those of `Misbehaved`."""
    if facts.account is None and not facts.trusted:
        hooks.emit(Misbehaved(session=facts.session, service=facts.service, peer=facts.peer, kind=kind))
