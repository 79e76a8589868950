"""The part of a connection that commands get which talk back and forth: APPEND, AUTHENTICATE, those of plugins."""

from __future__ import annotations

from mailserver.imap.connection.input import Input
from mailserver.imap.connection.output import Output
from mailserver.imap.replies import BadArguments
from mailserver.wire.imap import responses
from mailserver.wire.imap.events import BadCommand, ContinuationNeeded, Event, ProtocolClosed, SaslResponse

__all__ = ["Dialogue"]


class Dialogue:
    """`session.Conversation` over one connection's input and output."""

    __slots__ = ("_input", "_output")

    def __init__(self, source: Input, output: Output) -> None:
        self._input = source
        self._output = output

    async def next_event(self) -> Event:
        """The next event of the wire; everything that was answered so far goes out first."""
        while True:
            event = self._input.wire.next_event()
            if isinstance(event, ProtocolClosed):
                raise ConnectionResetError
            if isinstance(event, ContinuationNeeded):
                self._output.put(responses.CONTINUE)
                continue
            if event is not None:
                return event
            if self._input.fill():
                continue
            if self._output.waits:
                await self._output.flush()
                continue
            await self._input.more()

    async def ask(self, line: bytes) -> bytes | None:
        """Send a SASL challenge; the client's answer, None when it cancelled."""
        self._input.wire.await_sasl()
        self._output.put(responses.challenge(line))
        event = await self.next_event()
        if isinstance(event, BadCommand):
            raise BadArguments(event.text)
        return event.data if isinstance(event, SaslResponse) else None

    def accept_literal(self) -> None:
        """The message literal that waits may come."""
        self._output.put(self._input.wire.accept_literal())
        self._input.upload_begins()

    def refuse_literal(self) -> None:
        """The message literal that waits is not wanted."""
        self._input.wire.refuse_literal()
