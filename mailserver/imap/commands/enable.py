"""ENABLE (RFC 9051 §6.3.1, RFC 5161)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, bad
from mailserver.imap.session import Session, State
from mailserver.wire.imap import commands
from mailserver.wire.imap.responses import enabled

__all__ = ["enable"]


async def enable(session: Session, command: commands.Enable) -> Responses:
    """Switch on what the client can take; what is unknown or already on is not in the answer."""
    offered = set(session.services.capabilities(session).split())
    asked = [name for name in dict.fromkeys(command.capabilities) if name in offered or name.upper() == "IMAP4REV2"]
    if "UTF8=ACCEPT" in asked and session.state is State.SELECTED and not session.utf8:
        # RFC 6855 §3: the names that the client holds would change their spelling under it.
        yield bad("UTF8=ACCEPT is enabled before a mailbox is selected")
        return
    switched = []
    for name in asked:
        if name == "CONDSTORE" and not session.condstore:
            yield session.enable_condstore()
        elif name == "QRESYNC" and not session.qresync:
            # RFC 7162 §3.2.3: QRESYNC brings CONDSTORE.
            session.qresync = True
            yield session.enable_condstore()
        elif name == "UIDONLY" and not session.uid_only:
            yield session.enable_uid_only()
        elif name == "UTF8=ACCEPT" and not session.utf8:
            session.enable_utf8()
        elif name.upper() == "IMAP4REV2" and "IMAP4rev2" in offered and not session.rev2:
            session.rev2 = True
            session.enable_utf8()
            name = "IMAP4rev2"
        else:
            continue
        switched.append(name)
    yield enabled(switched)
