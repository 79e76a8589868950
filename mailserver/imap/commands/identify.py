"""ID (RFC 2971)."""

from __future__ import annotations

import structlog

from mailserver.imap.replies import Responses
from mailserver.imap.session import Session
from mailserver.wire.imap import commands
from mailserver.wire.imap.responses import id_response

__all__ = ["identify"]

log = structlog.get_logger()

_WORTH_A_LINE = ("name", "version", "os")


async def identify(session: Session, command: commands.Id) -> Responses:
    """Say the program's name; what the client says of itself goes to the developer's log, and may cost capabilities.

    Clients remember what is announced, so a list that became shorter is told at once.
    """
    if command.fields:
        said = {name.lower(): value[:100] for name, value in command.fields if value is not None}
        log.debug("client", session=session.facts.session, **{key: said[key] for key in _WORTH_A_LINE if key in said})
        before = session.off
        session.identified(said.get("name", ""), said.get("version", ""))
        if session.off != before:
            yield f"* CAPABILITY {session.services.capabilities(session)}\r\n".encode("ascii")
    yield id_response((("name", "mailserver"),) if session.services.settings.id else ())
