"""Connecting to a host of which we have several addresses: the fastest of them, but never all at once (RFC 8305).

Only IP literals are taken, each is looked at right before the connection is made to that very literal: whatever DNS
says meanwhile, what was checked is what is used (ATTACKS G12).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from mailserver.model.errors import MailError
from mailserver.net.addresses import refusal

__all__ = ["DialFailed", "Dialled", "dial"]

#: RFC 8305 §5 Connection Attempt Delay.
STAGGER = 0.25
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connected socket that does not block, the literal that it leads to, and those that did not fail so far."""

    socket: socket.socket
    address: str
    left: tuple[str, ...] = ()


class DialFailed(MailError):
    """No address could be connected to; the text has a reason for each. `refused`: none of them may be used at all."""

    temporary = True
    status = "4.4.1"

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class _Attempt(Exception):
    """One address failed; its text says how."""


async def dial(
    addresses: Sequence[str],
    port: int,
    *,
    source: Sequence[str] = (),
    allow_private: bool = False,
    timeout: float = TIMEOUT,
    stagger: float = STAGGER,
) -> Dialled:
    """Connect to the first of `addresses` that answers, in their order; each next one is tried after `stagger` seconds.

    `source` are our own addresses: with any, only families that have one are used. `timeout` (seconds) is for each
    address.

    Raises:
        DialFailed: with one line for the operator and the sender.
    """
    failures: dict[str, str] = {}
    allowed = []
    for address in dict.fromkeys(addresses):
        if words := refusal(address, allow_private=allow_private):
            failures[address] = f"{words}, which is not connected to"
        else:
            allowed.append(address)
    if not allowed:
        raise DialFailed(_summary(failures) or "there is no address to connect to", refused=bool(failures))
    race = _Race(allowed, port, tuple(source), timeout, stagger)
    try:
        won = await race.run()
    finally:
        race.stop()
    if won is not None:
        address, connected = won
        left = tuple(other for other in allowed if other != address and other not in race.failures)
        return Dialled(connected, address, left)
    raise DialFailed(_summary(failures | race.failures))


def _summary(failures: dict[str, str]) -> str:
    return "; ".join(f"{address}: {words}" for address, words in failures.items())


class _Race:
    """The attempts under way. Whoever connects first wins; the sockets of the others are closed."""

    def __init__(
        self, addresses: Sequence[str], port: int, source: tuple[str, ...], timeout: float, stagger: float
    ) -> None:
        self.failures: dict[str, str] = {}
        self._waiting = list(addresses)
        self._port = port
        self._source = source
        self._timeout = timeout
        self._stagger = stagger
        self._running: dict[asyncio.Task[socket.socket], str] = {}

    async def run(self) -> tuple[str, socket.socket] | None:
        while self._waiting or self._running:
            if self._waiting:
                address = self._waiting.pop(0)
                task = asyncio.create_task(connect(address, self._port, self._source, self._timeout))
                self._running[task] = address
            done, _ = await asyncio.wait(
                self._running, timeout=self._stagger if self._waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                address = self._running[task]
                error = task.exception()
                if error is None:
                    del self._running[task]
                    return address, task.result()
                if not isinstance(error, _Attempt):
                    raise error
                del self._running[task]
                self.failures[address] = str(error)
        return None

    def stop(self) -> None:
        """End all other attempts: each closes its socket; one may have connected in the same moment."""
        for task in self._running:
            task.cancel()
            task.add_done_callback(_drop)


def _drop(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def connect(address: str, port: int, source: tuple[str, ...], timeout: float) -> socket.socket:
    """One connection to one literal. Raises _Attempt; the socket is closed then, and when this is cancelled."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    own = next((mine for mine in source if (":" in mine) == (":" in address)), "")
    if source and not own:
        raise _Attempt("no source address of its family is set")
    try:
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise _Attempt(_words(error)) from None
    try:
        if own:
            _bind(made, own)
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
    except TimeoutError as error:
        made.close()
        # The kernel's own time limit comes as an OSError of that kind.
        raise _Attempt(_words(error) if error.errno else f"no answer within {timeout:g} s") from None
    except OSError as error:
        made.close()
        raise _Attempt(_words(error)) from None
    except BaseException:
        made.close()
        raise
    return made


def _bind(made: socket.socket, own: str) -> None:
    try:
        made.bind((own, 0))
    except OSError as error:
        raise _Attempt(f"cannot send from {own}: {_words(error)}") from None


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
