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
       │  APPEND's message: AppendStarted, DECIDE (streaming.py) ──▶ COMMAND
       │  a line or literal that is not wanted: SKIP, SKIP_LINE (intake.py) ──▶ COMMAND
       ├──await_done──▶ IDLE      ├──await_sasl──▶ SASL      ├──begin_tls──▶ TLS
       └──▶ CLOSED
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from mailserver.wire.imap.events import (
    CommandReceived,
    ContinuationNeeded,
    Event,
    IdleDone,
    ProtocolClosed,
    SaslResponse,
)
from mailserver.wire.imap.fragments import TOO_LONG, HangUp, LiteralHeader, literal_header
from mailserver.wire.imap.lexer import ParseError
from mailserver.wire.imap.limits import Limits
from mailserver.wire.imap.parse import PARSERS, Parser, parse_arguments, parse_head
from mailserver.wire.imap.parse.append import STREAMED, names_mailbox
from mailserver.wire.imap.states import State
from mailserver.wire.imap.streaming import MessageStream
from mailserver.wire.sasl import SaslCancelled, SaslError, decode_response

__all__ = ["ImapConnection"]


class ImapConnection(MessageStream):
    """The server's side of one connection.

    Attributes:
        authenticated: set it after login; it raises the limits and lets APPEND stream.
    """

    __slots__ = ("_eof", "_held", "_parsers", "_parts", "_verdict", "authenticated")

    def __init__(self, limits: Limits, parsers: Mapping[bytes, Parser] = PARSERS) -> None:
        """`parsers`: PARSERS, with the commands of plugins beside it."""
        super().__init__(limits)
        self._parsers = parsers
        self._eof = False
        self._verdict = ""
        self.authenticated = False

    def _reset(self) -> None:
        super()._reset()
        #: The command so far: lines with their CRLF, literals in their places; and the octets of those literals.
        self._parts: list[bytes] = []
        self._held = 0

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
            before, self._parts = self._parts, []
            return self._append_announced(b"".join((*before, line[: header.start])), header)
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
        State.DECIDE: MessageStream._step_decide,
        State.STREAM: MessageStream._step_stream,
        State.AFTER: MessageStream._step_after,
        State.SKIP: MessageStream._step_skip,
        State.SKIP_LINE: MessageStream._step_skip_line,
        State.IDLE: _step_idle,
        State.SASL: _step_sasl,
        State.TLS: _step_tls,
        State.CLOSED: _step_closed,
        State.PARTS: MessageStream._step_parts,
        State.URL: MessageStream._step_url,
    }
