"""One SMTP connection to another server: octets between the transport and the sans-IO client.

There is no task per connection and none per command. Whoever uses it awaits `command`, `run` or `send_content`; in
between, replies go from the transport straight into the transaction, which may answer at once. One timer per connection
watches over what is awaited: each reply must be complete within its stage's time, however many octets trickle in
(ATTACKS G15); a reply sets the time anew (RFC 5321 §4.5.3.2).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from mailserver.outbound.settings import SendingSettings
from mailserver.wire.smtp_client.features import HELO, Features
from mailserver.wire.smtp_client.replies import BadReply, RemoteReply, ReplyReader, printable
from mailserver.wire.smtp_client.transaction import Stage, Transaction

__all__ = ["Connection", "ConnectionBroken"]

#: Replies that a connection may keep for whoever comes to read them.
_MOST_WAITING = 16
#: A transaction's octets are written in pieces of this size at most.
CHUNK = 64 << 10

Trace = Callable[[str, str], None]


class ConnectionBroken(Exception):
    """The dialogue cannot go on. `text` says why, in words for the sender of a message; `status` is RFC 3463's.

    `silent`: the other side closed, and had said nothing since the last complete exchange.
    """

    def __init__(self, text: str, status: str = "4.4.2", *, silent: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.silent = silent


class Connection(asyncio.Protocol):
    """The protocol. `timeouts` are the stages' times; `trace` gets "C" or "S" and each line of the dialogue."""

    def __init__(self, settings: SendingSettings, trace: Trace | None = None) -> None:
        self._settings = settings
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._replies: deque[RemoteReply] = deque()
        self._transaction: Transaction | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._stage = Stage.GREETING
        self.broken: ConnectionBroken | None = None
        self.transport: asyncio.Transport | None = None
        self.features: Features = HELO
        #: Octets came since the last command was written: the other side was alive then.
        self._heard = False
        self._leaving = False

    # The protocol's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport, in the clear at first."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Replies for whoever waits."""
        self._heard = True
        if self.broken is not None:
            return
        try:
            replies = self._reader.feed(data)
            transaction = self._transaction
            for reply in replies:
                if self._trace is not None:
                    self._trace("S", str(reply))
                if transaction is not None and not transaction.done:
                    transaction.receive(reply)
                elif len(self._replies) < _MOST_WAITING:
                    self._replies.append(reply)
                else:
                    raise BadReply("it sends replies that nobody asked for")
        except BadReply as error:
            self.fail(ConnectionBroken(f"The server broke the rules of SMTP: {error}", "4.5.0"))
            return
        if not replies:
            return
        if self._leaving:
            self._close()
            return
        if transaction is not None and not transaction.done:
            octets = transaction.octets()
            if octets:
                self._write(octets)
            if not transaction.due:
                self._watch(transaction.stage)
                return
        self._wake()

    def eof_received(self) -> bool:
        """A server that says no more is no use: the connection closes."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """By the other side, by TLS, or by us."""
        said = "" if error is None else f" ({printable(str(error).encode('utf-8', 'replace'), 200)})"
        self.fail(
            ConnectionBroken(
                f"The connection was lost while waiting for the reply to {self._stage.value}{said}",
                silent=not self._heard,
            )
        )
        self.transport = None

    def pause_writing(self) -> None:
        """The server does not read fast enough."""
        self._paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # The user's side

    @property
    def usable(self) -> bool:
        """Nothing went wrong, and nothing was said out of turn."""
        return self.broken is None and self.transport is not None and self.quiet

    @property
    def quiet(self) -> bool:
        """Nothing was received beyond the replies that were asked for (ATTACKS C03)."""
        return not self._replies and self._reader.empty

    def fail(self, error: ConnectionBroken) -> None:
        """End it at once; who waits hears `error`. The first failure is the one that counts."""
        if self.broken is None:
            self.broken = error
        self._stop_timer()
        if self.transport is not None:
            self.transport.abort()
        self._wake()

    async def reply(self, stage: Stage) -> RemoteReply:
        """The next reply that no transaction takes. Raises ConnectionBroken."""
        if not self._replies:
            self._watch(stage)
            await self._wait()
        return self._replies.popleft()

    async def command(self, line: bytes, stage: Stage, *, secret: bool = False) -> RemoteReply:
        """One command (with its CRLF) and its reply. `secret`: not for the trace. Raises ConnectionBroken."""
        self._check()
        self._write(line, secret=secret)
        return await self.reply(stage)

    async def run(self, transaction: Transaction, content: bytes = b"") -> None:
        """Go on with a transaction until its message is due or it is done; `content` goes behind the first octets.

        Raises ConnectionBroken.
        """
        if transaction.done:
            return
        self._check()
        self._transaction = transaction
        octets = transaction.octets()
        if octets or content:
            if content:
                transaction.content_ends()
            self._write(octets, content)
        if not transaction.done and not transaction.due:
            self._watch(transaction.stage)
            await self._wait()

    def write(self, octets: bytes) -> None:
        """A piece of the message."""
        self._check()
        if self.transport is not None:
            self.transport.write(octets)

    async def drained(self) -> None:
        """Wait until the server has taken most of what was written. Raises ConnectionBroken."""
        self._check_answer()
        if self._paused:
            self._watch(Stage.CONTENT)
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None
            self._check_answer()

    def leave(self, transaction: Transaction) -> None:
        """The transaction is over; so is the connection with a server that said 421, or refused RSET or half a message.
        """
        self._transaction = None
        self._stop_timer()
        if transaction.closing is not None or transaction.torn:
            self.abort("The server ended the transaction in the middle")

    def abort(self, text: str) -> None:
        """Close without another word."""
        self.fail(ConnectionBroken(text))

    async def start_tls(self, context: ssl.SSLContext, name: str, seconds: float) -> ssl.SSLObject:
        """TLS from here on; `name` is the server's for SNI, or "". Raises OSError; the connection is lost then.

        The caller has looked that nothing which came in the clear is unread.
        """
        self._check()
        try:
            secured = await self._loop.start_tls(
                cast("asyncio.Transport", self.transport), self, context, server_hostname=name or None,
                ssl_handshake_timeout=seconds, ssl_shutdown_timeout=self._settings.quit_timeout,
            )  # fmt: skip
        except OSError:
            raise  # SSLCertVerificationError is a ValueError as well.
        except ValueError as error:
            self.abort("TLS is not possible")
            raise ssl.SSLError(f"the name of the server is not possible: {error}") from None
        if secured is None:
            raise ConnectionResetError
        self.transport = secured
        return cast("ssl.SSLObject", secured.get_extra_info("ssl_object"))

    @property
    def source(self) -> str:
        """Our own address on this connection, "" when it has none any more."""
        name = self.transport and self.transport.get_extra_info("sockname")
        return str(name[0]) if name else ""

    def certificate(self) -> bytes | None:
        """The server's own, in DER; None without TLS."""
        tls = self.transport and self.transport.get_extra_info("ssl_object")
        return cast("ssl.SSLObject", tls).getpeercert(binary_form=True) if tls else None

    def goodbye(self) -> None:
        """Say QUIT without waiting: the connection closes when that was answered, or its time is over."""
        if not self.usable:
            self.abort("We closed the connection")
            return
        self._leaving = True
        self._write(b"QUIT\r\n")
        self._watch(Stage.QUIT)

    async def quit(self) -> None:
        """Say goodbye (RFC 5321 §4.1.1.10), and close whatever is answered."""
        if self.usable:
            try:
                await self.command(b"QUIT\r\n", Stage.QUIT)
            except ConnectionBroken:
                return
        self._close()

    # Inside

    def _close(self) -> None:
        """After the goodbye: TLS says its own."""
        if self.broken is None and self.transport is not None:
            self.broken = ConnectionBroken("We closed the connection")
            self._stop_timer()
            self.transport.close()

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _write(self, octets: bytes, content: bytes = b"", *, secret: bool = False) -> None:
        if self._trace is not None:
            for line in octets.splitlines():
                self._trace("C", "(secret)" if secret else printable(line))
            if content:
                self._trace("C", f"({len(content)} octets of message)")
        self._heard = False
        if self.transport is not None:
            self.transport.write(octets + content if content else octets)

    async def _wait(self) -> None:
        self._check()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._stop_timer()
        self._check_answer()

    def _check_answer(self) -> None:
        """A server may answer and be gone before anyone looks: then its answer counts."""
        if not self._replies and (self._transaction is None or not self._transaction.done):
            self._check()

    def _wake(self) -> None:
        for future in (self._waiter, self._writable):
            if future is not None and not future.done():
                future.set_result(None)

    def _watch(self, stage: Stage) -> None:
        """From now on this stage's reply is awaited for this stage's time."""
        self._stage = stage
        self._deadline = self._loop.time() + _seconds(self._settings, stage)
        if self._timer is not None and self._timer.when() <= self._deadline:
            return  # It looks again when it fires.
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._deadline:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
            return
        self.fail(ConnectionBroken(f"The server did not answer in time ({self._stage.value})", "4.4.2"))

    def _stop_timer(self) -> None:
        """The timer itself stays: the next stage will most likely need it."""
        self._deadline = 0.0
        if self.broken is not None and self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _seconds(settings: SendingSettings, stage: Stage) -> float:
    if stage is Stage.GREETING:
        return settings.greeting_timeout
    if stage is Stage.DATA:
        return settings.data_timeout
    if stage is Stage.CONTENT:
        return settings.block_timeout
    if stage is Stage.END:
        return settings.end_timeout
    return settings.quit_timeout if stage is Stage.QUIT else settings.command_timeout
