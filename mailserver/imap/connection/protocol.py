"""One IMAP connection on the event loop: bytes to the wire, events to commands, answers back to the socket.

An idle connection is this object and its transport: a task exists only while a command runs (or a pushed change is
written), and time-outs are one shared timer's (`watch.py`). Commands run one at a time, in the order they came
(RFC 9051 §5.5). Answers go through `output.py`; while the client does not read them nothing more is made, and with
64 KiB of commands waiting nothing more is read from it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import structlog

from mailserver.hooks.contexts import ConnectContext
from mailserver.imap.connection.attention import Attention
from mailserver.imap.connection.dialogue import Dialogue
from mailserver.imap.connection.dispatch import BROKEN, may_run, run_command
from mailserver.imap.connection.input import Input
from mailserver.imap.connection.output import Output
from mailserver.imap.connection.silence import Silence
from mailserver.imap.replies import After, Completion, bad
from mailserver.imap.session import Services, Session
from mailserver.imap.slices import Turn
from mailserver.imap.telling import untold
from mailserver.model.events import SessionClosed, SessionOpened
from mailserver.model.progress import Progress
from mailserver.model.verdict import Defer, Reject
from mailserver.net.facts import session_facts, tell_misbehaviour
from mailserver.net.listener import Listener
from mailserver.net.starttls import start_tls
from mailserver.wire.imap import responses
from mailserver.wire.imap.connection import ImapConnection
from mailserver.wire.imap.events import (
    AppendStarted,
    BadCommand,
    CommandReceived,
    ContinuationNeeded,
    Event,
    IdleDone,
    ProtocolClosed,
)

__all__ = ["ImapProtocol"]

log = structlog.get_logger()


class ImapProtocol(asyncio.Protocol):
    """A connection from its greeting to its end; registers with its listener and with the shared timer."""

    __slots__ = (
        "_attention", "_deadline", "_ending", "_idle", "_input", "_listener", "_loop", "_lost", "_output", "_services",
        "_silence", "_stirred", "_task", "_transport", "_wire", "session",
    )  # fmt: skip

    def __init__(self, services: Services, listener: Listener) -> None:
        self.session: Session | None = None
        self._services = services
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._wire = ImapConnection(services.wire, services.parsers)
        self._input = Input(self._wire, self._loop)
        self._output = Output(self._loop)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        #: Tag and completion of an IDLE.
        self._idle: tuple[bytes, Completion] | None = None
        self._attention = Attention(self.wake)
        self._deadline = 0.0
        self._silence = Silence(self._output)
        self._ending: str | None = None
        self._lost = False
        #: While the task runs: octets came, or something to tell, since it last began to tell.
        self._stirred = False

    # --- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, TLS included where the listener has it."""
        self._attach(cast(asyncio.Transport, transport))
        peer, port = self._listener.peername(self, transport)
        refused = self._listener.opened(self, peer)
        if refused is not None:
            self._goodbye(refused, "UNAVAILABLE")
            return
        facts = session_facts(
            "imap", (peer, port), transport.get_extra_info("sockname"),
            trusted=self._listener.table.trusted(peer), tls=transport.get_extra_info("ssl_object"),
        )  # fmt: skip
        self.session = Session(
            self._services, facts, self, Dialogue(self._input, self._output),
            starttls=not facts.tls and self._services.tls is not None,
        )  # fmt: skip
        # Until login the time is for everything together: a client that trickles octets wins nothing.
        self._deadline = self._loop.time() + self._services.settings.login_timeout
        self._services.watch.add(self)
        opened = SessionOpened(session=facts.session, service="imap", peer=peer, tls=bool(facts.tls))
        self._services.hooks.emit(opened)
        self._start(greet=True)

    def data_received(self, data: bytes) -> None:
        """Octets of the client. They are looked at by the running task, or by a new one."""
        session = self.session
        if session is None or (self._ending is not None and self._task is None):
            return
        if session.account is not None:
            self._deadline = self._loop.time() + self._services.limits.imap_idle
        self._input.receive(data)
        self._stirred = True
        if self._task is None:
            self._start()
        elif not self._input.awaited:
            self._input.hold()

    def eof_received(self) -> bool:
        """The client sends no more; it still gets its answers (not with TLS, where the transport closes at once)."""
        self._input.end()
        self._stirred = True
        if self.session is None or self.session.facts.tls:
            return False
        if self._task is None:
            self._start()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; the mailbox is given back."""
        if self._lost:
            return
        self._lost = True
        self._listener.closed(self)
        self._services.watch.discard(self)
        self._leave_idle()
        self._attach(None)
        if self.session is None:
            return
        facts = self.session.facts
        self._services.hooks.emit(SessionClosed(session=facts.session, service="imap", peer=facts.peer))
        if self._task is not None:
            # A change of the store that was begun runs to its end (ports/store.py); this session stops waiting for it.
            self._task.cancel()
        elif self.session.selected is not None or self.session.account is not None:
            self._services.hold(self._loop.create_task(self.session.close()))

    def pause_writing(self) -> None:
        """The client does not read."""
        self._output.pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._output.resume()

    # --- what the listener, the timer and the login service call

    def begin_shutdown(self) -> None:
        """Finish the command in hand, say goodbye, close."""
        self.end("The server is stopping")

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def end(self, text: str) -> None:
        """Say BYE with this text, after the command in hand, and close."""
        if self._ending is not None:
            return
        self._ending = text
        if self._task is None:
            self._goodbye(text)

    def check(self, now: float) -> None:
        """The shared timer looks: what took too long ends here."""
        limits = self._services.limits
        self._output.rest()
        stalled = self._output.stalled_since()
        if stalled is not None and now - stalled > limits.write_stall:
            log.info("client does not read its answers", session=self._session.facts.session)
            self.abort()
        elif self._input.too_slow(now, limits):
            log.info("client sends its message too slowly", session=self._session.facts.session)
            self.abort()
        elif self._task is not None and not self._input.awaited:
            self._silence.check(self._session, now)
        elif now > self._deadline:
            # Longer than the half hour that RFC 9051 §5.4 grants, or not logged in in time.
            if self._ending is not None or self._input.awaited:
                self.abort()
            self.end("Autologout; idle for too long" if self._session.facts.account else "Login took too long")

    # --- the task

    def _start(self, *, greet: bool = False) -> None:
        self._task = self._loop.create_task(self._run(greet=greet))

    async def _run(self, *, greet: bool) -> None:
        try:
            if greet:
                await self._greet()
            await self._serve()
        except ConnectionError:
            self.abort()
        except Exception:
            log.exception("connection failed", session=self._session.facts.session)
            self.abort()
        finally:
            self._task = None
            if self._lost:
                await self._session.close()

    async def _greet(self) -> None:
        verdict = await self._services.hooks.connect(ConnectContext(session=self._session.facts))
        if isinstance(verdict, Reject | Defer):
            self._ending = verdict.reply.text.partition("\n")[0]
            return
        capabilities = self._services.capabilities(self._session)
        self._output.put(responses.status_line(b"*", "OK", "IMAP server ready", f"CAPABILITY {capabilities}"))

    async def _serve(self) -> None:
        """Everything that has arrived, in order; returns when there is nothing more to do."""
        turn = Turn()
        while self._ending is None:
            event = self._wire.next_event()
            if event is not None:
                await self._handle(event)
                if self._output.full:
                    # Many small answers: a client that does not read them gets no more of them made.
                    await self._output.flush()
                await turn.pass_on()
                continue
            if self._input.fill():
                await turn.pass_on()
                continue
            if self._idle is not None or (self.session is not None and self.session.notifications is not None):
                self._stirred = False
                await self._tell(expunges=True, pushed=True)
                if self._stirred and not self._output.waits:
                    # Nobody starts a task while this one runs. Answers go out first: others may stir without end.
                    continue
            if self._output.waits or self._ending is not None:
                await self._output.flush()
                continue
            self._input.resume()
            if self._input.eof:
                break
            return
        await self._output.flush()
        if self._ending is not None:
            self._goodbye(self._ending)
        elif self._transport is not None:
            self._transport.close()

    async def _handle(self, event: Event) -> None:
        match event:
            case CommandReceived():
                await self._command(event.tag, event.name, event.command)
            case AppendStarted(tag=tag, command=name):
                await self._command(tag, name, event)
                self._input.upload_ended()
            case BadCommand(tag=tag):
                self._leave_idle()
                await self._complete(tag, Completion(event.status, event.text, event.code), expunges=False)
            case ContinuationNeeded():
                self._output.put(responses.CONTINUE)
            case IdleDone() if self._idle is not None:
                tag, completion = self._idle
                self._leave_idle()
                await self._complete(tag, completion, expunges=True)
            case ProtocolClosed(text=text):
                if text:
                    self._ending = text
                    tell_misbehaviour(self._services.hooks, self._session.facts, "protocol")
                else:
                    self._input.eof = True
            case _:
                raise TypeError(f"{event!r} out of place")

    async def _command(self, tag: bytes, name: str, command: object) -> None:
        session, spec = self._session, self._services.commands[name]
        session.tag, session.progress = tag, Progress()
        self._silence.begins(self._loop.time())
        if session.selected is not None and session.selected.revoked:
            # Before the command is looked at: it would be answered from a mailbox that is not this user's to see.
            self._ending = session.selected.lost
        elif (refused := may_run(session, spec, command)) is not None:
            await self._complete(tag, refused, expunges=False)
        else:
            completion = await run_command(session, spec, command, self._output)
            if completion is BROKEN and isinstance(command, AppendStarted):
                # What is left of the message on the wire would be read as commands.
                self._ending = "Internal error"
            await self._complete(tag, completion, expunges=spec.expunges)

    async def _complete(self, tag: bytes, completion: Completion, *, expunges: bool) -> None:
        if completion.after is After.START_TLS:
            await self._start_tls(tag, completion)
            return
        await self._tell(expunges=expunges)
        if completion.after is After.IDLE:
            self._enter_idle(tag, completion)
            return
        self._session.causing = ()
        self._attend()
        self._output.put(completion.encode(tag))
        if completion.after is After.COMPRESS:
            self._output.deflate(self._services.settings.compression_level)
            self._input.inflate()
        if completion.after is After.START_AGAIN:
            self._output.deflate_no_more()
            self._input.inflate_no_more()
        if completion.after is After.CLOSE:
            await self._output.flush()
            self._ending = ""

    async def _tell(self, *, expunges: bool, pushed: bool = False) -> None:
        """What happened and was not told yet; `pushed`: at our own instance, or that of an IDLE."""
        turn = Turn()
        async for piece in untold(self._session, expunges=expunges, pushed=pushed and self._idle is None):
            self._output.put(piece)
            if self._output.full:
                await self._output.flush()
            await turn.pass_on()
        selected = self._session.selected
        if selected is not None and selected.lost:
            # Its numbers and UIDs mean nothing any more; every client survives a reconnect.
            self._ending = selected.lost

    # --- IDLE

    def _enter_idle(self, tag: bytes, completion: Completion) -> None:
        self._wire.await_done()
        self._idle = (tag, replace(completion, after=After.GO_ON))
        self._attend()
        self._output.put(responses.continuation("idling"))

    def _leave_idle(self) -> None:
        self._idle = None
        self._attend()

    def _attend(self) -> None:
        self._attention.turn_to(None if self._lost else self.session, idle=self._idle is not None)

    def wake(self) -> None:
        """Something changed; called on the loop, perhaps more often than needed."""
        self._stirred = True
        if self._task is None and not self._lost and self._session.has_news():
            self._start()

    # --- TLS

    async def _start_tls(self, tag: bytes, completion: Completion) -> None:
        """RFC 9051 §6.2.1. Nothing is awaited between the look for injected octets and the handshake (ATTACKS C02)."""
        transport, context = self._transport, self._services.tls
        await self._output.flush()
        if transport is None or context is None or not self._wire.begin_tls():
            self._output.put(bad("Commands after STARTTLS, before TLS").encode(tag))
            self._ending = "Out of order"
            return
        transport.write(completion.encode(tag))
        secured = await start_tls(transport, self, context, handshake=self._services.limits.tls_handshake)
        self._attach(secured)
        self._wire.tls_started()
        self._session.tls_started(secured.get_extra_info("ssl_object"))

    # --- what the session tells

    def logged_in(self) -> None:
        """From now on the limits of authenticated clients hold."""
        self._wire.authenticated = True
        self._deadline = self._loop.time() + self._services.limits.imap_idle

    def logged_out(self) -> None:
        """They are those of a stranger again; so is the time that it has."""
        self._wire.authenticated = self._wire.utf8 = False
        self._deadline = self._loop.time() + self._services.settings.login_timeout

    def enabled_utf8(self) -> None:
        """From now on names and strings are UTF-8."""
        self._wire.utf8 = True

    # --- in and out

    @property
    def _session(self) -> Session:
        assert self.session is not None  # noqa: S101
        return self.session

    def _attach(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._input.attach(transport)
        self._output.attach(transport)

    def _goodbye(self, text: str, code: str = "") -> None:
        if self._transport is not None:
            if text:
                self._output.put(responses.status_line(b"*", "BYE", text, code))
            self._output.write_out()
            self._transport.close()
