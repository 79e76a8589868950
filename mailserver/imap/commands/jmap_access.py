"""GETJMAPACCESS (RFC 9698 §4): where the same mail is by JMAP; there only if the operator says where."""

from __future__ import annotations

from mailserver.imap.replies import Responses
from mailserver.imap.session import Session
from mailserver.wire.imap.commands import GetJmapAccess
from mailserver.wire.imap.responses import string

__all__ = ["get_jmap_access"]


async def get_jmap_access(session: Session, _: GetJmapAccess) -> Responses:
    """The address of the JMAP session resource."""
    yield b"* JMAPACCESS %b\r\n" % string(session.services.settings.jmap_url.encode("ascii"))
