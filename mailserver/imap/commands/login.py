"""LOGIN (RFC 9051 §6.2.3)."""

from __future__ import annotations

from mailserver.imap.commands.authenticate import logged_in, privacy_required, refused
from mailserver.imap.replies import Responses
from mailserver.imap.session import Session
from mailserver.net.login import LoginOk
from mailserver.wire.imap import commands

__all__ = ["login"]


async def login(session: Session, command: commands.Login) -> Responses:
    """User name and password; only where the connection is private or excepted (LOGINDISABLED otherwise)."""
    service = session.services.login
    if not service.mechanisms(session.facts):
        yield privacy_required()
        return
    result = await service.login(session.facts, command.user, command.password)
    yield await logged_in(session, result.account) if isinstance(result, LoginOk) else refused(result)
