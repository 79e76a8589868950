"""INPROGRESS (RFC 9585): a client whose command has answered nothing for a while hears that it is still worked on."""

from __future__ import annotations

from mailserver.imap.connection.output import Output
from mailserver.imap.session import Session
from mailserver.wire.imap import responses

__all__ = ["Silence"]

#: Seconds after which it does (RFC 9585 §4).
_LONG = 10.0


class Silence:
    """Of one connection, while it has a task. Times are the event loop's."""

    __slots__ = ("_output", "_since")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._since = 0.0

    def begins(self, now: float) -> None:
        """A command begins."""
        self._output.untouched, self._since = True, now

    def check(self, session: Session, now: float) -> None:
        """End it when it is long; before a command's first answer only: in the middle of one it would be part of it."""
        late = now - self._since >= _LONG and self._output.untouched
        if late and session.offers("INPROGRESS") and session.account:
            self._output.put(responses.in_progress(session.tag, session.progress))
            self._output.write_out()
            self.begins(now)
