"""Messages in commands: APPEND and REPLACE, whose literals are streamed, and messages that are put together of parts.

    AppendStarted, DECIDE ──accept──▶ STREAM ──▶ AFTER ──▶ AppendFinished, or AppendContinued and again DECIDE
                      │   └─refuse──▶ COMMAND, or SKIP if the client does not wait
                      └──accept──▶ PARTS ◀──▶ DECIDE, STREAM and URL, part by part; ──▶ AFTER
"""

from __future__ import annotations

from mailserver.wire.imap.events import (
    AppendContinued,
    AppendFinished,
    AppendMessage,
    CatenateEnd,
    CatenateText,
    ContinuationNeeded,
    Event,
    LiteralChunk,
)
from mailserver.wire.imap.fragments import TOO_LONG, LiteralHeader, literal_header
from mailserver.wire.imap.intake import Intake
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.limits import CHUNK
from mailserver.wire.imap.parse.append import append_message, append_started
from mailserver.wire.imap.parse.catenate import Parts
from mailserver.wire.imap.responses import CONTINUE
from mailserver.wire.imap.states import State

__all__ = ["MessageStream"]


class MessageStream(Intake):
    """The part of a connection that takes messages."""

    __slots__ = ("_append", "_catenated", "_messages")

    def _reset(self) -> None:
        super()._reset()
        self._append: AppendMessage | None = None
        #: The parts of a message that is put together.
        self._catenated: Parts | None = None
        #: Of the command in hand, so far.
        self._messages = 0

    def accept_literal(self) -> bytes:
        """Take the message of the last AppendStarted or AppendContinued. Returns what to send now, perhaps nothing."""
        message = self._message_in_hand()
        self._state = State.PARTS if message.catenate else State.STREAM
        return CONTINUE if message.synchronizing else b""

    def refuse_literal(self) -> None:
        """Do not take that message; the session answers the command NO. A literal that comes anyway is thrown away."""
        if self._catenated is not None and (self._state is State.PARTS or self._message_in_hand().catenate):
            self._leave_parts(self._catenated)
            return
        message = self._message_in_hand()
        if message.synchronizing:
            self._reset()
        else:
            self._skip(message.size)

    def _leave_parts(self, parts: Parts) -> None:
        """Throw away what is left of a message that is put together, and of its command."""
        header, unread = parts.header, parts.lexer is None
        self._reset()
        if unread:
            self._state = State.SKIP_LINE
        elif header is not None and not header.synchronizing:
            self._skip(header.size)

    def _message_in_hand(self) -> AppendMessage:
        if self._state is not State.DECIDE or self._append is None:
            raise RuntimeError("there is no message to accept or refuse")
        return self._append

    def _append_announced(self, data: bytes, header: LiteralHeader | None) -> Event:
        lexer = Lexer(data, self._at, utf8=self.utf8)
        try:
            started = append_started(self._tag, self._name, lexer, header, self._limits.append)
        except ParseError as error:
            return self._append_failed(error, header)
        self._begin(started.message, lexer, header)
        return started

    def _begin(self, message: AppendMessage, lexer: Lexer, header: LiteralHeader | None) -> AppendMessage:
        self._messages += 1
        self._catenated = Parts(lexer, header) if message.catenate else None
        return self._decide(message)

    def _decide(self, message: AppendMessage) -> AppendMessage:
        self._append, self._left, self._state = message, message.size, State.DECIDE
        return message

    def _append_failed(self, error: ParseError, header: LiteralHeader | None) -> Event:
        bad = self._bad(error.text, error.status, error.code)
        if header is not None and not header.synchronizing:
            self._check_skippable(header)
            self._skip(header.size)
        return bad

    def _step_decide(self) -> Event | None:
        # Whoever passes over the message must not leave the connection waiting for a decision for ever.
        self.refuse_literal()
        return None

    def _step_stream(self) -> Event | None:
        data = self._fragments.take(min(self._left, CHUNK))
        if not data and self._left:
            return None
        self._left -= len(data)
        if b"\0" in data and self._append is not None and not self._append.binary:
            # RFC 9051 §9 literal: CHAR8 is any octet but NUL.
            left = self._left
            bad = self._bad("the message has NUL octets; send it as a literal8: ~{count}", "NO", "CANNOT")
            self._skip(left)
            return bad
        if not self._left:
            self._state = State.AFTER if self._catenated is None else State.PARTS
        return LiteralChunk(data, last=not self._left)

    def _step_parts(self) -> Event | None:
        """The next part of a message that is put together."""
        parts = self._catenated
        if parts is None:
            raise RuntimeError("no message is put together")
        if parts.lexer is None:
            line = self._fragments.line(self._limits.line)
            if line is None:
                return None
            if line is TOO_LONG:
                return self._line_too_long()
            parts.goes_on(line, literal_header(line), utf8=self.utf8)
        header = parts.header
        try:
            part = parts.next(self._limits.append)
        except ParseError as error:
            return self._append_failed(error, header)
        if isinstance(part, CatenateText):
            self._decide(part.message)
        elif isinstance(part, CatenateEnd):
            self._state = State.AFTER
        elif part is None and parts.url is not None:
            self._left, self._state = parts.url.size, State.URL
            return ContinuationNeeded() if parts.url.synchronizing else None
        return part

    def _step_url(self) -> Event | None:
        if len(self._fragments) < self._left or self._catenated is None:
            return None
        self._state = State.PARTS
        try:
            return self._catenated.held(self._fragments.take(self._left))
        except ParseError as error:
            bad = self._bad(error.text)
            self._state = State.SKIP_LINE
            return bad

    def _step_after(self) -> Event | None:
        """What follows a message: the end of the command, or one more message."""
        parts, self._catenated = self._catenated, None
        if parts is not None and parts.lexer is not None:
            lexer, header = parts.lexer, parts.header
        else:
            line = self._fragments.line(self._limits.line)
            if line is None:
                return None
            if line is TOO_LONG:
                return self._line_too_long()
            header = literal_header(line)
            lexer = Lexer(line[: header.start] if header else line, utf8=self.utf8)
        try:
            if self._append is not None and self._append.utf8:
                lexer.expect(b")")
            if header is None and lexer.at_end:
                self._reset()
                return AppendFinished(self._tag)
            if self._name != b"APPEND":
                # RFC 8508 §4.7
                raise ParseError("REPLACE takes one message")
            if self._messages >= self._limits.messages:
                raise ParseError(f"an APPEND has at most {self._limits.messages} messages", status="NO", code="LIMIT")
            message = append_message(lexer, header, self._limits.append)
        except ParseError as error:
            return self._append_failed(error, header)
        return AppendContinued(self._begin(message, lexer, header))
