"""Feeding octets to the IMAP engine: whole, octet by octet, and with more behind them."""

from __future__ import annotations

from mailserver.wire.imap.commands import Authenticate, Idle, Noop
from mailserver.wire.imap.connection import ImapConnection
from mailserver.wire.imap.events import (
    AppendContinued,
    AppendStarted,
    CatenateText,
    CommandReceived,
    Event,
    LiteralChunk,
    ProtocolClosed,
)
from mailserver.wire.imap.limits import Limits

SMALL = Limits(
    line_before_login=200, literals_before_login=100, line=400, literals=300, sasl_line=150, append=1000, messages=3
)
TRAILER = b"zz NOOP\r\n"
TRAILER_EVENT = CommandReceived(b"zz", "NOOP", Noop())


def make(*, authenticated: bool = True, utf8: bool = False, limits: Limits | None = None) -> ImapConnection:
    connection = ImapConnection(limits or Limits())
    connection.authenticated = authenticated
    connection.utf8 = utf8
    return connection


def drain(connection: ImapConnection, *, accept: bool = True) -> list[Event]:
    """All events that are there, answered as a session would that grants everything."""
    found: list[Event] = []
    while (event := connection.next_event()) is not None:
        if isinstance(event, AppendStarted | AppendContinued | CatenateText):
            if accept:
                connection.accept_literal()
            else:
                connection.refuse_literal()
        elif isinstance(event, CommandReceived) and isinstance(event.command, Idle):
            connection.await_done()
        elif isinstance(event, CommandReceived) and isinstance(event.command, Authenticate):
            connection.await_sasl()
        previous = found[-1] if found else None
        if isinstance(event, LiteralChunk) and isinstance(previous, LiteralChunk):
            found[-1] = LiteralChunk(previous.data + event.data, last=event.last)
        else:
            found.append(event)
    return found


def feed(
    data: bytes,
    *,
    step: int = 0,
    authenticated: bool = True,
    utf8: bool = False,
    accept: bool = True,
    limits: Limits | None = None,
) -> list[Event]:
    """The events of `data`, given in pieces of `step` octets (0: whole); pieces of one message are joined."""
    connection = make(authenticated=authenticated, utf8=utf8, limits=limits)
    found: list[Event] = []
    for start in range(0, len(data), step or len(data) or 1):
        connection.receive_data(data[start : start + (step or len(data))])
        for event in drain(connection, accept=accept):
            previous = found[-1] if found else None
            if isinstance(event, LiteralChunk) and isinstance(previous, LiteralChunk):
                found[-1] = LiteralChunk(previous.data + event.data, last=event.last)
            else:
                found.append(event)
    return found


def every_way(
    data: bytes,
    *,
    authenticated: bool = True,
    utf8: bool = False,
    accept: bool = True,
    limits: Limits | None = None,
) -> list[Event]:
    """The events of `data`, the same whole, octet by octet, and with one more command behind it."""

    def run(octets: bytes, step: int) -> list[Event]:
        return feed(octets, step=step, authenticated=authenticated, utf8=utf8, accept=accept, limits=limits)

    whole = run(data, 0)
    assert run(data, 1) == whole
    closed = bool(whole) and isinstance(whole[-1], ProtocolClosed)
    behind = [] if closed else [TRAILER_EVENT]
    assert run(data + TRAILER, 0) == whole + behind
    assert run(data + TRAILER, 3) == whole + behind
    return whole


def command(line: bytes, *, authenticated: bool = True, utf8: bool = False) -> object:
    """The value of one command `a <line>`; fails if it is not one."""
    events = every_way(b"a " + line + b"\r\n", authenticated=authenticated, utf8=utf8)
    event = events[-1]
    assert isinstance(event, CommandReceived), event
    assert event.tag == b"a"
    return event.command
