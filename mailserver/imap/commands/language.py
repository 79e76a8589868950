"""LANGUAGE (RFC 5255 §3): English, as everything is said here."""

from __future__ import annotations

from mailserver.imap.replies import Responses, no, ok
from mailserver.imap.session import Session
from mailserver.wire.imap.commands import Language

__all__ = ["language"]

_SPOKEN = ("en", "i-default")


async def language(session: Session, command: Language) -> Responses:
    """Say which languages there are, or take the first of the client's that is one of them."""
    if not command.ranges:
        yield b"* LANGUAGE (en i-default)\r\n"
        yield ok("Supported languages have been enumerated")
        return
    for asked in command.ranges:
        found = _lookup(asked.lower())
        if found is not None:
            yield f"* LANGUAGE ({found})\r\n".encode("ascii")
            yield ok("LANGUAGE completed")
            return
    yield no("none of these languages is spoken here")


def _lookup(asked: str) -> str | None:
    """RFC 4647 §3.4: en-CA is met by en."""
    if asked in ("default", "*"):
        return _SPOKEN[0]
    while asked:
        if asked in _SPOKEN:
            return asked
        asked = asked.rpartition("-")[0]
    return None
