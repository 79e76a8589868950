"""One SMTP connection: the only file that knows aiosmtpd.

aiosmtpd's `SMTP` gives the shape: a protocol whose `_handle_client` task reads commands, dispatches them to
`smtp_<VERB>` methods and answers through `push`. What is behind these names is our own, because the library's reads
lines that end in a bare LF, holds whole messages in memory, shares limits between connections, cancels a delivery when
the client hangs up, and tells exceptions to the peer. A contract test (`tests/unit/smtp/test_server.py`) fails when one
of these names, or the set of its commands, changes in a new version.

A connection has one task. Losing the connection never cancels it: a commit runs to its end, and the next read says that
nobody is there any more. Deadlines are looked at by the service's one timer (`tick`).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Any, cast

import structlog
from aiosmtpd.smtp import SMTP

from mailserver.model.events import SessionClosed, SessionOpened
from mailserver.model.reply import Reply
from mailserver.net.facts import session_facts, tell_misbehaviour
from mailserver.net.listener import Listener
from mailserver.smtp.auth import AuthCommand
from mailserver.smtp.commands import Commands
from mailserver.smtp.data import DataCommands, Progress
from mailserver.smtp.receiver import Receiver
from mailserver.smtp.session import SmtpSession
from mailserver.smtp.starttls import StartTls
from mailserver.smtp.stream import ConnectionEnded, LineTooLong, Stream
from mailserver.smtp.transaction import State, Transaction
from mailserver.wire.smtp import BadArgument

__all__ = ["SmtpConnection"]

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_MALFORMED = Reply(500, "5.5.2", "Commands have no control characters").encode()
_MALFORMED_BYE = Reply(521, "5.5.2", "Too many malformed commands").encode()
_NOT_ASCII = Reply(500, "5.5.2", "This command is ASCII only").encode()
_UNKNOWN = Reply(500, "5.5.1", "Unknown command").encode()
_TOO_LONG = Reply(500, "5.5.2", "Line too long").encode()
_EARLY = Reply(554, "5.5.0", "The client spoke before it was its turn").encode()
_TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors").encode()
_TOO_MUCH_JUNK = Reply(421, "4.7.0", "Too many commands without effect").encode()
_TIMEOUT = Reply(421, "4.4.2", "Timeout").encode()
_TOO_SLOW = Reply(421, "4.4.2", "The message arrives too slowly").encode()
_STOPPING = Reply(421, "4.3.2", "The server is stopping").encode()
_FAILED = Reply(451, "4.3.0", "Internal error, try again later").encode()
_WRONG_PROTOCOL = Reply(554, "5.5.0", "This is SMTP").encode()

# The first words of other protocols: of a browser that was lured here no second line is read (ALPACA, ATTACKS B11).
_FOREIGN = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"PRI"))
_UTF8_ARGUMENTS = frozenset((b"MAIL", b"RCPT", b"VRFY", b"EXPN"))
#: Commands whose reply decides what comes next: nothing may follow them unasked (RFC 2920 §3.1).
_LAST_OF_GROUP = frozenset((b"EHLO", b"HELO", b"AUTH"))
_MOST_MALFORMED = 3

log = structlog.get_logger()


class SmtpConnection(Commands, DataCommands, AuthCommand, StartTls, SMTP):  # type: ignore[misc]
    """A `net.listener.Connection`. `starttls` is None where STARTTLS is not offered."""

    def __init__(
        self,
        receiver: Receiver,
        listener: Listener,
        starttls: ssl.SSLContext | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        # The library's constructor looks through all attributes by reflection (0.35 ms) and makes a StreamReader that
        # is not used here; so it is left out, together with every method of the library that would need it.
        self.receiver = receiver
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.closing = False
        self.progress: Progress | None = None
        self._listener = listener
        self.starttls = starttls
        #: What is said before the connection ends, once it has to.
        self._goodbye: bytes | None = None
        #: Loop time until which the next command must be complete; None while we work on one.
        self._deadline: float | None = None
        self._closed_at: float | None = None
        self._handler_coroutine: asyncio.Task[None] | None = None

    # The protocol's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, and start its task."""
        limits = self.receiver.parts.limits
        self.transport = cast("asyncio.Transport", transport)
        peer = self._listener.peername(self, transport)
        self.session = SmtpSession(session_facts(
            self.receiver.service, peer, transport.get_extra_info("sockname"),
            trusted=self._listener.table.trusted(peer[0]), tls=transport.get_extra_info("ssl_object"),
        ))  # fmt: skip
        self.transaction = Transaction(State.START)
        self.stream = Stream(self.loop, self.transport, limits.unread_replies)
        refused = self._listener.opened(self, peer[0])
        if refused is not None:
            self.stream.push(Reply(421, "4.7.0", refused).encode())
            self._close()
            return
        facts = self.session.facts
        self.receiver.parts.hooks.emit(
            SessionOpened(session=facts.session, service=facts.service, peer=facts.peer, tls=bool(facts.tls))
        )
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        """Octets for the reader."""
        self.stream.received(data)

    def eof_received(self) -> bool:
        """The client says no more; over TCP it may still hear our replies, TLS cannot be half closed."""
        self.stream.ended(lost=False)
        return not self.session.facts.tls

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody is there any more; the task finds out at its next read or write."""
        self.stream.ended(lost=True)
        self.transport = None
        if self._handler_coroutine is None or self._handler_coroutine.done():
            self._listener.closed(self)

    def pause_writing(self) -> None:
        """The client does not read its replies."""
        self.stream.write_full(self.loop.time())

    def resume_writing(self) -> None:
        """It does again."""
        self.stream.write_full(None)

    # The listener's side

    def begin_shutdown(self) -> None:
        """421 when idle; a message in transit is finished first."""
        self._leave(_STOPPING)

    def abort(self) -> None:
        """Close now."""
        if self.transport is not None:
            self.transport.abort()

    def end(self, reason: str) -> None:
        """The account may no longer be used, or not by who logged in so."""
        self._leave(Reply(421, "4.7.0", reason[:1].upper() + reason[1:]).encode())

    def _leave(self, goodbye: bytes) -> None:
        self._goodbye = goodbye
        if self._deadline is not None and not self.closing:
            self._say_and_close(goodbye)

    def tick(self, now: float) -> None:
        """Enforce the deadlines; `now` is loop time."""
        limits = self.receiver.parts.limits
        if self.transport is None:
            return
        stalled = self.stream.stalled_since
        if stalled is None:
            stalled = self._closed_at  # what was said last may not be read either
        if stalled is not None and now - stalled >= limits.write_stall:
            self.abort()
        elif self.progress is not None and self.progress.too_slow(now, limits):
            self._misbehaved("slow")
            self._say_and_close(_TOO_SLOW)
        elif self._deadline is not None and now >= self._deadline:
            self._say_and_close(_TIMEOUT)

    def _say_and_close(self, reply: bytes) -> None:
        # Only while the task waits for octets: its own replies are on their way already.
        self.closing = True
        self.stream.push(reply)
        self._close()
        self.stream.ended(lost=False)

    def _close(self) -> None:
        if self._closed_at is None:
            self._closed_at = self.loop.time()
        self.stream.close()

    # The task's side

    def now(self) -> float:
        """Monotonic seconds of the loop."""
        return self.loop.time()

    def unread(self) -> bool:
        """Did the client send more already?"""
        return bool(self.stream.buffer)

    def can_start_tls(self) -> bool:
        """Is there a context, and no TLS yet?"""
        return self.starttls is not None

    async def push(self, status: str | bytes) -> None:
        """Gather a reply to send."""
        self.stream.push(status if isinstance(status, bytes) else status.encode("ascii", "replace"))

    async def handle_exception(self, error: Exception) -> str:
        """A bug of ours: the log gets it, the peer does not; no word of the message is in either."""
        log.error("SMTP session failed", session=self.session.facts.session, exc_info=error)
        return _FAILED.decode("ascii")

    async def _handle_client(self) -> None:
        try:
            try:
                if await self._say_hello():
                    await self._serve()
            finally:
                await self.drop_chunks()
        except (ConnectionEnded, ConnectionError):
            pass
        except Exception as error:
            self.stream.push((await self.handle_exception(error)).encode())
        finally:
            self._deadline = None
            self.forget_login()
            facts = self.session.facts
            self.receiver.parts.hooks.emit(
                SessionClosed(session=facts.session, service=facts.service, peer=facts.peer)
            )
            if self.transport is not None:
                self._close()
            else:
                self._listener.closed(self)
            self._handler_coroutine = None

    async def _say_hello(self) -> bool:
        """The greeting, or the refusal (False)."""
        if self.receiver.greet_delay and not self.session.facts.trusted:
            await self.receiver.parts.sleep(self.receiver.greet_delay)
        # Two turns of the loop: what the client sent before it could have seen a greeting is read by then.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = await self.receiver.connect(self.session)
        if self.receiver.in_turn and self.unread():
            self._misbehaved("protocol")
            self.stream.push(_EARLY)
            return False
        if refused is not None:
            self.stream.push(refused.reply.encode())
            return False
        self.stream.push(f"220 {self.receiver.parts.hostname} ESMTP\r\n".encode())
        return True

    async def _serve(self) -> None:
        stream, buffer, session = self.stream, self.stream.buffer, self.session
        limits = self.receiver.parts.limits
        while not self.closing:
            if self._goodbye is not None:
                stream.push(self._goodbye)
                return
            end = buffer.find(b"\r\n")
            if end < 0 or end > limits.command_line:
                try:
                    line = await self._read_line(self._longest_line)
                except LineTooLong:
                    self._misbehaved("protocol")
                    stream.push(_TOO_LONG)
                    return
            else:
                line = bytes(buffer[:end])
                del buffer[: end + 2]
            reply = await self._obey(line)
            stream.push(reply)
            # 452 is no error of the client's: recipients beyond the limit have a limit of their own.
            if reply[:1] >= b"4" and not reply.startswith(b"452"):
                session.errors += 1
            if not self.closing:
                if session.errors >= limits.errors:
                    self._misbehaved("errors")
                    stream.push(_TOO_MANY_ERRORS)
                    return
                if session.junk > limits.junk_commands and not session.facts.trusted:
                    self._misbehaved("junk")
                    stream.push(_TOO_MUCH_JUNK)
                    return
                if stream.full:
                    await stream.flush()

    async def _read_line(self, longest: Any) -> bytes:
        """The next line without its CRLF, within the deadline. `longest()` is the limit for what is there of it."""
        buffer = self.stream.buffer
        self._deadline = self.loop.time() + self.receiver.parts.limits.idle
        searched = 0
        try:
            while True:
                end = buffer.find(b"\r\n", searched)
                if end > longest() or (end < 0 and len(buffer) > longest()):
                    raise LineTooLong
                if end >= 0:
                    line = bytes(buffer[:end])
                    del buffer[: end + 2]
                    return line
                searched = max(0, len(buffer) - 1)
                await self.stream.more()
        finally:
            self._deadline = None

    def _longest_line(self) -> int:
        """MAIL and RCPT have parameters, AUTH has tokens (RFC 5321 §4.5.3.1.4, RFC 4954 §4)."""
        limits = self.receiver.parts.limits
        verb = bytes(self.stream.buffer[:5]).upper()
        if verb == b"AUTH ":
            return limits.auth_line
        return limits.command_line * 2 if verb in (b"MAIL ", b"RCPT ") else limits.command_line

    async def read_answer(self) -> bytes:
        """A line of an AUTH exchange."""
        limit = self.receiver.parts.limits.auth_line
        try:
            return await self._read_line(lambda: limit)
        except LineTooLong:
            self.closing = True
            raise BadArgument(500, "5.5.6", "The answer is too long") from None

    async def _obey(self, line: bytes) -> bytes:
        """The reply to one command."""
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        handler = _HANDLERS.get(verb)
        if _CONTROL.search(line):
            self.session.malformed += 1
            if self.session.malformed < _MOST_MALFORMED and not self.closing:
                return _MALFORMED
            return self._sent_away(_MALFORMED_BYE)
        if handler is None:
            return self._unknown(verb)
        if not line.isascii() and verb not in _UTF8_ARGUMENTS:
            return _NOT_ASCII
        if verb in _LAST_OF_GROUP and self.stream.buffer and self.session.facts.account is None:
            return self._sent_away(_EARLY)
        try:
            return cast("bytes", await handler(self, argument.strip(b" ")))
        except BadArgument as error:
            return error.reply.encode()
        except (ConnectionEnded, ConnectionError):
            raise
        except Exception as error:
            await self.end_transaction()
            # In the middle of a message the next octets are not commands.
            self.closing = self.closing or verb in (b"DATA", b"BDAT", b"AUTH", b"STARTTLS")
            return (await self.handle_exception(error)).encode()

    def _unknown(self, verb: bytes) -> bytes:
        if verb in _FOREIGN:
            return self._sent_away(_WRONG_PROTOCOL)
        return _UNKNOWN

    def _sent_away(self, reply: bytes) -> bytes:
        self.closing = True
        self._misbehaved("protocol")
        return reply

    def _misbehaved(self, kind: str) -> None:
        tell_misbehaviour(self.receiver.parts.hooks, self.session.facts, kind)

    async def end_transaction(self) -> None:
        """RSET, and what else forgets a transaction."""
        await self.drop_chunks()
        await super().end_transaction()


_HANDLERS: dict[bytes, Any] = {
    name.removeprefix("smtp_").encode("ascii"): getattr(SmtpConnection, name)
    for name in dir(SmtpConnection)
    if name.startswith("smtp_")
}
