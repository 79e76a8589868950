"""One IMAP connection without its socket: octets in, events out.

    connection.receive_data(data)                    as it comes from the peer
    while (event := connection.next_event()):        one at a time: run it and answer before asking for the next
        …

Commands are given in order, and not one octet behind a command is looked at before the next call of `next_event`; that
is what keeps pipelining in order and STARTTLS safe. `next_event` never raises, whatever the peer sent, and gives None
when it needs more input. A session that asks for more instead of taking APPEND's message has refused it.

Memory is bounded by `Limits`: a line, the literals of one command in sum, and what was received and not yet asked for
(`unread`): the driver stops reading from the socket while that is more than it wants to hold.

    COMMAND ──line──▶ CommandReceived | BadCommand
       │  small literal: [ContinuationNeeded] HELD ──▶ COMMAND (the same command goes on)
       │  APPEND's message: AppendStarted, DECIDE ──accept──▶ STREAM ──▶ AFTER ──▶ AppendFinished, or again DECIDE
       │                                          └─refuse──▶ COMMAND, or SKIP if the client does not wait
       ├──await_done──▶ IDLE      ├──await_sasl──▶ SASL      ├──begin_tls──▶ TLS
       └──▶ CLOSED
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from mailserver.wire.imap.events import (
    AppendContinued,
    AppendFinished,
    AppendMessage,
    BadCommand,
    CatenateEnd,
    CatenateText,
    CommandReceived,
    ContinuationNeeded,
    Event,
    IdleDone,
    LiteralChunk,
    ProtocolClosed,
    SaslResponse,
)
from mailserver.wire.imap.fragments import TOO_LONG, Fragments, HangUp, LiteralHeader, literal_header
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.limits import CHUNK, MAX_DISCARD, TAIL, Limits
from mailserver.wire.imap.parse import PARSERS, Parser, parse_arguments, parse_head
from mailserver.wire.imap.parse_append import STREAMED, append_message, append_started, names_mailbox
from mailserver.wire.imap.parse_catenate import Parts
from mailserver.wire.imap.responses import CONTINUE
from mailserver.wire.imap.states import State
from mailserver.wire.sasl import SaslCancelled, SaslError, decode_response

__all__ = ["ImapConnection"]


class ImapConnection:
    """The server's side of one connection.

    Attributes:
        authenticated: set it after login; it raises the limits and lets APPEND stream.
        utf8: set it when the client enables UTF8=ACCEPT or IMAP4rev2; mailbox names are UTF-8 from then on.
    """

    __slots__ = (
        "_append", "_at", "_catenated", "_eof", "_fragments", "_held", "_left", "_limits", "_line", "_messages",
        "_name", "_parsers", "_parts", "_state", "_tag", "_verdict", "authenticated", "utf8",
    )  # fmt: skip

    def __init__(self, limits: Limits, parsers: Mapping[bytes, Parser] = PARSERS) -> None:
        """`parsers`: PARSERS, with the commands of plugins beside it."""
        self._limits = limits
        self._parsers = parsers
        self._fragments = Fragments()
        self._eof = False
        self._verdict = ""
        self.authenticated = False
        self.utf8 = False
        self._tag = self._name = b""
        self._at = 0
        self._reset()

    def _reset(self) -> None:
        """Ready for the next command."""
        self._state = State.COMMAND
        #: The command so far: lines with their CRLF, literals in their places.
        self._parts: list[bytes] = []
        #: Octets of lines and of literals in `_parts`.
        self._line = self._held = 0
        #: Octets of the literal in hand that are still to come.
        self._left = 0
        self._append: AppendMessage | None = None
        #: The parts of a message that is put together.
        self._catenated: Parts | None = None
        self._messages = 0

    # What the driver and the session call

    @property
    def unread(self) -> int:
        """Octets that were received and not yet read."""
        return len(self._fragments)

    def receive_data(self, data: bytes) -> None:
        """Take in what the peer sent; cheap, nothing is parsed."""
        if self._state is not State.CLOSED:
            self._fragments.feed(data)

    def receive_eof(self) -> None:
        """The peer will send nothing more. Whole commands that are here still come out, then ProtocolClosed("")."""
        self._eof = True

    def unread_octets(self) -> bytes:
        """Take back what was received and not yet read: it is not what it seems (compressed, RFC 4978 §3)."""
        return self._fragments.take(len(self._fragments))

    def hang_up(self, text: str) -> None:
        """What comes in can no longer be read: the next event is ProtocolClosed(text)."""
        self._verdict = text

    def next_event(self) -> Event | None:
        """The next event, or None: more input is needed."""
        if self._verdict:
            text, self._verdict = self._verdict, ""
            return self._close(text)
        while True:
            state = self._state
            try:
                event = self._STEPS[state](self)
            except HangUp as error:
                return self._close(error.text)
            if event is not None:
                return event
            if self._state is state:
                break
        if self._eof and state is not State.CLOSED:
            return self._close("")
        return None

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

    def await_done(self) -> None:
        """IDLE was granted: the next line is DONE, and gives IdleDone (or BadCommand, which ends IDLE as well)."""
        self._state = State.IDLE

    def await_sasl(self) -> None:
        """A challenge was sent: the next line is the answer, and gives SaslResponse (or BadCommand, which ends it)."""
        self._state = State.SASL

    def begin_tls(self) -> bool:
        """STARTTLS is about to be answered OK. False: octets wait that would be taken for TLS-protected ones.

        They were sent in clear, perhaps by someone in between (RFC 9051 §11.1; CVE-2021-33515): say BYE and close.
        After True, whatever is received before `tls_started` closes the connection too.
        """
        if self._fragments:
            return False
        self._state = State.TLS
        return True

    def tls_started(self) -> None:
        """The handshake is done; commands follow."""
        if self._state is State.TLS:
            self._reset()

    # Commands

    def _step_command(self) -> Event | None:
        limit = self._limits.line if self.authenticated else self._limits.line_before_login
        line = self._fragments.line(limit - self._line)
        if line is None:
            return None
        if line is TOO_LONG:
            if not self.authenticated:
                raise HangUp(f"a command line has at most {limit} octets before login")
            if not self._parts:
                self._tag = parse_head(self._fragments.head(256))[0]
            return self._line_too_long()
        if not self._parts:
            self._tag, self._name, self._at = parse_head(line)
        header = literal_header(line)
        if header is not None:
            return self._literal_announced(line, header)
        if self._parts:
            self._parts.append(line)
            line = b"".join(self._parts)
            self._reset()
        return self._command(line)

    def _command(self, data: bytes) -> Event:
        if not self._tag:
            return self._bad("a command begins with a tag of at most 128 characters, a space and its name")
        parser = self._parsers.get(self._name)
        if parser is None:
            if self._name in STREAMED and self.authenticated and b" CATENATE (" in data.upper():
                return self._append_announced(data, None)
            if self._name in STREAMED:
                name = self._name.decode("ascii")
                return self._bad(f"{name} comes after login, with a mailbox and the message as a literal")
            return self._bad("this command is not known here; CAPABILITY lists what is")
        try:
            command = parse_arguments(parser, data, self._at, utf8=self.utf8)
        except ParseError as error:
            return self._bad(error.text, error.status, error.code)
        return CommandReceived(self._tag, self._name.decode("ascii"), command)

    def _line_too_long(self) -> Event:
        bad = self._bad(f"a command has at most {self._limits.line} octets outside literals; name messages as ranges")
        self._state = State.SKIP_LINE
        return bad

    def _bad(self, text: str, status: str = "BAD", code: str = "") -> BadCommand:
        """Answer the command in hand; the next line is a command again."""
        self._reset()
        return BadCommand(self._tag or b"*", text, status, code)

    def _close(self, text: str) -> ProtocolClosed:
        self._reset()
        self._fragments.clear()
        self._state = State.CLOSED
        return ProtocolClosed(text)

    # Literals

    def _literal_announced(self, line: bytes, header: LiteralHeader) -> Event | None:
        # The mailbox name of APPEND may be a literal too; what comes after it is a message.
        if self._name in STREAMED and self.authenticated and (
            self._parts or not names_mailbox(self._name, line[self._at : header.start])
        ):
            return self._append_announced(b"".join((*self._parts, line[: header.start])), header)
        most = self._limits.literals if self.authenticated else self._limits.literals_before_login
        if self._held + header.size > most:
            text = f"the literals of a command have at most {most} octets"
            if not header.synchronizing:
                # RFC 7888 §4: such a client can only be stopped by hanging up.
                raise HangUp(text)
            return self._bad(text, "NO", "TOOBIG")
        self._parts += (line, b"\r\n")
        self._line += len(line) + 2
        self._held += header.size
        self._left = header.size
        self._state = State.HELD
        return ContinuationNeeded() if header.synchronizing else None

    def _step_held(self) -> Event | None:
        if len(self._fragments) < self._left:
            return None
        self._parts.append(self._fragments.take(self._left))
        self._state = State.COMMAND
        return None

    # APPEND

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
        self._parts = []
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

    # Throwing away

    def _check_skippable(self, header: LiteralHeader) -> None:
        if header.size > self._limits.append:
            raise HangUp(f"a literal has at most {self._limits.append} octets")

    def _skip(self, octets: int) -> None:
        """Throw away a literal, and then the rest of its command."""
        self._reset()
        self._left = octets
        self._state = State.SKIP

    def _step_skip(self) -> Event | None:
        self._left -= len(self._fragments.take(self._left))
        if not self._left:
            self._state = State.SKIP_LINE
        return None

    def _step_skip_line(self) -> Event | None:
        gone, tail = self._fragments.discard_line(TAIL)
        self._line += gone
        if self._line > MAX_DISCARD:
            raise HangUp("the line does not end")
        if tail is None:
            return None
        header = literal_header(tail)
        if header is None or header.synchronizing:
            # A client that waits has had its answer, and sends no literal after it.
            self._reset()
        else:
            self._check_skippable(header)
            self._left = header.size
            self._state = State.SKIP
        return None

    # Other lines

    def _step_idle(self) -> Event | None:
        line = self._fragments.line(self._limits.line_before_login)
        if line is None:
            return None
        if line is TOO_LONG:
            raise HangUp("IDLE ends with DONE")
        if line.upper() != b"DONE":
            return self._bad("IDLE ends with DONE on a line of its own")
        self._reset()
        return IdleDone()

    def _step_sasl(self) -> Event | None:
        line = self._fragments.line(self._limits.sasl_line)
        if line is None:
            return None
        if line is TOO_LONG:
            raise HangUp(f"an authentication answer has at most {self._limits.sasl_line} octets")
        self._reset()
        # RFC 9051 §6.2.2
        try:
            return SaslResponse(decode_response(line))
        except SaslCancelled:
            return SaslResponse(None)
        except SaslError as error:
            return self._bad(error.text)

    def _step_tls(self) -> Event | None:
        if self._fragments:
            raise HangUp("octets came in clear after STARTTLS")
        return None

    def _step_closed(self) -> Event | None:
        return None

    _STEPS: ClassVar[dict[State, Callable[[ImapConnection], Event | None]]] = {
        State.COMMAND: _step_command,
        State.HELD: _step_held,
        State.DECIDE: _step_decide,
        State.STREAM: _step_stream,
        State.AFTER: _step_after,
        State.SKIP: _step_skip,
        State.SKIP_LINE: _step_skip_line,
        State.IDLE: _step_idle,
        State.SASL: _step_sasl,
        State.TLS: _step_tls,
        State.CLOSED: _step_closed,
        State.PARTS: _step_parts,
        State.URL: _step_url,
    }
