"""The connection as a protocol: what the transport tells it, in every order."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mailserver.outbound.connection import Connection, ConnectionBroken
from mailserver.outbound.settings import SendingSettings
from mailserver.wire.smtp_client.features import Features
from mailserver.wire.smtp_client.transaction import Stage, Transaction


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, octets: bytes) -> None:
        self.written += octets

    def abort(self) -> None:
        self.aborted = True

    close = abort


def connected() -> tuple[Connection, Wire]:
    connection, wire = Connection(SendingSettings()), Wire()
    connection.connection_made(cast("asyncio.BaseTransport", wire))
    return connection, wire


async def test_who_answers_and_is_gone_has_answered() -> None:
    connection, _ = connected()
    waiting = asyncio.ensure_future(connection.command(b"NOOP\r\n", Stage.RSET))
    await asyncio.sleep(0)
    connection.data_received(b"554 5.7.1 Blocked\r\n")
    connection.connection_lost(ConnectionResetError())
    assert (await waiting).code == 554
    with pytest.raises(ConnectionBroken):
        await connection.command(b"NOOP\r\n", Stage.RSET)


async def test_who_ends_a_transaction_and_is_gone_has_ended_it() -> None:
    connection, wire = connected()
    transaction = Transaction(b"MAIL\r\n", [b"RCPT\r\n"], Features(), 5)
    waiting = asyncio.ensure_future(connection.run(transaction))
    await asyncio.sleep(0)
    connection.data_received(b"550 5.7.1 Blocked\r\n")
    connection.connection_lost(None)
    await waiting
    assert transaction.done
    assert wire.written == b"MAIL\r\n"


async def test_replies_that_come_byte_by_byte_are_replies() -> None:
    connection, wire = connected()
    transaction = Transaction(b"MAIL\r\n", [b"RCPT\r\n"], Features(), 5)
    waiting = asyncio.ensure_future(connection.run(transaction))
    await asyncio.sleep(0)
    for octet in b"250-one\r\n250 two\r\n250 ok\r\n354 go\r\n":
        connection.data_received(bytes([octet]))
    await waiting
    assert transaction.due
    assert wire.written == b"MAIL\r\nRCPT\r\nDATA\r\n"


async def test_nobody_reads_what_comes_after_the_end() -> None:
    connection, wire = connected()
    connection.data_received(b"nonsense\r\n")
    assert wire.aborted
    connection.data_received(b"220 hello\r\n")
    with pytest.raises(ConnectionBroken, match="it does not speak SMTP: nonsense"):
        await connection.reply(Stage.GREETING)


async def test_what_comes_unasked_has_a_bound() -> None:
    connection, wire = connected()
    for _ in range(100):
        connection.data_received(b"250 hello\r\n")
    assert wire.aborted
    assert not connection.usable
