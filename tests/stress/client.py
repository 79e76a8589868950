"""A mail program's connection: sends groups of commands, and reads the answers of each, in order, strictly.

Whatever comes is applied to the view at once; what a command means for the model is said by its `begin`, `done` and
`lost`. One of the last two is always called.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.helpers.daemon import DOMAIN, PASSWORD
from tests.stress.responses import Continuation, Fault, Tagged, Untagged, complete_length, parse
from tests.stress.view import Saved, View
from tests.stress.world import World

__all__ = ["Client", "Command", "Gone", "Outcome"]

_TIMEOUT = 60.0


class Gone(Exception):
    """The connection ended, as it may."""


@dataclass(slots=True)
class Outcome:
    """What a command got, and when it was sent."""

    sent: int
    untagged: list[Untagged] = field(default_factory=list)
    tagged: Tagged = field(default_factory=lambda: Tagged("", "", "", "", ""))

    @property
    def ok(self) -> bool:
        return self.tagged.status == "OK"

    def of(self, kind: str) -> list[Untagged]:
        """The untagged responses of a kind."""
        return [response for response in self.untagged if response.kind == kind]

    def code(self, name: str) -> str | None:
        """The argument of a response code, tagged or not."""
        for status in (*(one.data for one in self.of("OK")), self.tagged):
            if status.code == name:
                return str(status.argument)
        return None


def _nothing(*_: object) -> None:
    pass


@dataclass(slots=True)
class Command:
    r"""`text`: without tag and CRLF; literals are in it, as {n+}.

    Attributes:
        expunges: whether EXPUNGE may come with it.
        begin: called when all commands before it were answered; the view is that of the server when it begins.
        done: called with the outcome; raises Fault. lost: the connection ended before the answer.
        allowed: statuses that the command may get.
    """

    text: bytes
    expunges: bool = True
    begin: Callable[[int], None] = _nothing
    done: Callable[[Outcome], None] = _nothing
    lost: Callable[[], None] = _nothing
    allowed: Sequence[str] = ("OK",)
    #: SELECT and EXAMINE: what is selected from its answer on.
    opens: View | None = None


class Client:
    """One mail program, which connects again and again. `level`: plain, rev2, condstore or qresync."""

    def __init__(self, world: World, who: str, port: int, level: str) -> None:
        self.world, self.who, self.level = world, who, level
        self.view: View | None = None
        #: What was selected when another mailbox was asked for, until that is answered: its end may be told first.
        self._left: View | None = None
        #: By UIDVALIDITY, for QRESYNC.
        self.saved: dict[int, Saved] = {}
        self.log: deque[tuple[int, str, bytes]] = deque(maxlen=4000)
        self._port = port
        self._buffer = bytearray()
        self._number = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def connect(self) -> None:
        """Connect, log in, enable. Raises Gone."""
        try:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as error:
            raise self._ended(str(error)) from error
        self._buffer.clear()
        greeting = await self._response()
        if not isinstance(greeting, Untagged) or greeting.kind != "OK":
            raise Fault(f"greeting {greeting}")
        enable = {"rev2": [b"ENABLE IMAP4rev2"], "condstore": [b"ENABLE CONDSTORE"], "qresync": [b"ENABLE QRESYNC"]}
        login = Command(f'LOGIN "anna@{DOMAIN}" "{PASSWORD}"'.encode())
        await self.run([login, *(Command(text) for text in enable.get(self.level, []))])

    def drop(self) -> None:
        """Hang up, without a word."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = self.view = self._left = None

    def write(self, data: bytes) -> None:
        """Send."""
        self.log.append((self.world.tick(), "C", data[:300]))
        if self._writer is not None:
            self._writer.write(data)

    def _ended(self, why: str) -> Exception:
        selected = (self.view, self._left)
        self.drop()
        if self.world.killing or any(view is not None and view.box.doomed for view in selected):
            return Gone(why)
        return Fault(f"the connection ended: {why}")

    async def _response(self) -> Untagged | Tagged | Continuation:
        """The next response. Raises Gone, Fault. May be cancelled: nothing is lost."""
        while not (length := complete_length(self._buffer)):
            if self._reader is None:
                raise self._ended("closed")
            try:
                data = await self._reader.read(1 << 16)
            except OSError as error:
                raise self._ended(str(error)) from error
            if not data:
                raise self._ended("closed by the server")
            self._buffer += data
        line = bytes(self._buffer[: length - 2])
        del self._buffer[:length]
        self.log.append((self.world.tick(), "S", line[:300]))
        response = parse(line)
        if isinstance(response, Untagged) and response.kind == "BYE":
            raise self._ended(response.data.text)
        return response

    async def run(self, commands: Sequence[Command]) -> list[Outcome]:
        """Send all at once, take the answers in. Raises Gone, Fault."""
        sent = self.world.tick()
        tags, out = [], b""
        for command in commands:
            self._number += 1
            tags.append(f"{self.who}x{self._number}")
            out += tags[-1].encode() + b" " + command.text + b"\r\n"
            self.world.commands[command.text.split()[0].decode()] += 1
        outcomes: list[Outcome] = []
        try:
            self.write(out)
            for tag, command in zip(tags, commands, strict=True):
                outcomes.append(await self._answered(tag, command, sent))
        except Exception:
            for command in commands[len(outcomes) :]:
                command.lost()
            raise
        return outcomes

    async def _answered(self, tag: str, command: Command, sent: int) -> Outcome:
        outcome = Outcome(sent)
        command.begin(sent)
        if command.opens is not None:
            self._left, self.view = self.view, command.opens
        while True:
            async with asyncio.timeout(_TIMEOUT):
                response = await self._response()
            self._left = None
            if isinstance(response, Continuation):
                raise Fault(f"a continuation that nobody waits for: {response.text!r}")
            if isinstance(response, Tagged):
                break
            outcome.untagged.append(response)
            self._apply(response, sent, expunges=command.expunges)
        outcome.tagged = response
        if response.code == "NONEXISTENT" and self.view is not None and self.view.box.doomed:
            # What is selected was deleted; the server is about to hang up.
            raise self._ended(response.text)
        self.check_tag(tag, command, response)
        command.done(outcome)
        if self.view is not None:
            self.view.completed(response.code, response.argument)
        return outcome

    def check_tag(self, tag: str, command: Command, response: Tagged) -> None:
        """Raises Fault: it is not the answer to this command, or not one that the command may get."""
        if response.tag != tag or response.status not in command.allowed:
            raise Fault(f"{tag} {command.text[:200]!r} got {response}")

    def _apply(self, response: Untagged, sent: int, *, expunges: bool) -> None:
        if response.kind == "OK" and response.data.code == "CLOSED" and self.view is not None and not self.view.opening:
            self.view = None
        elif self.view is not None:
            self.view.apply(response, sent=sent, expunges=expunges, vanished=self.level == "qresync")
        elif response.kind in ("EXISTS", "EXPUNGE", "VANISHED", "FETCH"):
            raise Fault(f"nothing is selected, and it tells {response}")

    async def talk(self, command: Command, pieces: Sequence[bytes]) -> None:
        """A command whose literals wait for the server: each piece is sent when it asks for it. Raises Gone, Fault."""
        self._number += 1
        tag, sent = f"{self.who}x{self._number}", self.world.tick()
        self.world.commands[command.text.split()[0].decode()] += 1
        try:
            self.write(tag.encode() + b" " + command.text + b"\r\n")
            outcome = Outcome(sent)
            for piece in pieces:
                while isinstance(response := await self._response(), Untagged):
                    outcome.untagged.append(response)
                    self._apply(response, sent, expunges=True)
                if isinstance(response, Tagged):
                    break
                self.write(piece + b"\r\n")
            while not isinstance(response, Tagged):
                response = await self._response()
                if isinstance(response, Untagged):
                    outcome.untagged.append(response)
                    self._apply(response, sent, expunges=True)
            outcome.tagged = response
        except Exception:
            command.lost()
            raise
        self.check_tag(tag, command, response)
        command.done(outcome)
        if self.view is not None:
            self.view.completed(response.code, response.argument)

    async def idle(self, moments: Callable[[], float], stop: Callable[[], bool]) -> None:
        """IDLE until nothing came for one of `moments` (seconds), or `stop`."""
        self._number += 1
        tag, sent = f"{self.who}x{self._number}", self.world.tick()
        self.write(f"{tag} IDLE\r\n".encode())
        while not isinstance(response := await self._response(), Continuation):
            if isinstance(response, Tagged):
                raise Fault(f"IDLE got {response}")
            self._apply(response, sent, expunges=True)
        with contextlib.suppress(TimeoutError):
            while not stop():
                async with asyncio.timeout(moments()):
                    response = await self._response()
                if not isinstance(response, Untagged):
                    raise Fault(f"{response} in IDLE")
                self._apply(response, sent, expunges=True)
        self.write(b"DONE\r\n")
        while isinstance(response := await self._response(), Untagged):
            self._apply(response, sent, expunges=True)
        if not isinstance(response, Tagged):
            raise Fault(f"{response} in IDLE")
        self.check_tag(tag, Command(b"IDLE"), response)
        if self.view is not None:
            self.view.completed(response.code, response.argument)
