"""DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030): octets in bulk, streamed into the store as they come."""

from __future__ import annotations

from abc import abstractmethod

from mailserver.model.reply import Reply
from mailserver.net.settings import LimitsSettings
from mailserver.smtp.commands import CommandBase
from mailserver.smtp.intake import Intake
from mailserver.smtp.keeping import ClientGone
from mailserver.smtp.stream import ConnectionEnded, Stream
from mailserver.smtp.transaction import State, Transaction, refusal
from mailserver.wire.dotstuff import DotReader
from mailserver.wire.smtp import BadArgument, parse_bdat

__all__ = ["DataCommands", "Progress"]

_GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"
_NO_ARGUMENT = Reply(501, "5.5.4", "DATA takes no argument").encode()
_EARLY = Reply(554, "5.5.0", "The client spoke before it was its turn").encode()
_CHUNK_OK = Reply(250, "2.0.0", "Chunk ok").encode()
_NEVER_ENDS = Reply(552, "5.3.4", "The message is far too large").encode()
_CHUNK_TOO_BIG = Reply(552, "5.3.4", "The chunk is larger than any message may be").encode()


class Progress:
    """How a message arrives, for the deadlines: when it began (loop time), and how much came of it."""

    __slots__ = ("octets", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.octets = 0

    def too_slow(self, now: float, limits: LimitsSettings) -> bool:
        """Does it take too long, or has it come below the lowest rate?"""
        taken = now - self.since
        return taken >= limits.message_time or (
            taken >= limits.min_rate_grace and self.octets < taken * limits.min_rate
        )


class DataCommands(CommandBase):
    """The two ways to send a message. Both end in `Receiver.finish`, so one policy holds for both."""

    stream: Stream
    #: Set while a message comes: for DATA until its end, for BDAT over all chunks, since many small ones are as slow as
    #: one.
    progress: Progress | None
    _intake: Intake | None = None

    @abstractmethod
    async def handle_exception(self, error: Exception) -> str:
        """Log a fault of ours; the reply that tells of it."""
        ...

    @abstractmethod
    def now(self) -> float:
        """Monotonic seconds."""
        ...

    async def smtp_DATA(self, argument: bytes) -> bytes:  # noqa: N802
        """Everything up to CRLF "." CRLF."""
        out_of_order = refusal("DATA", self.transaction.state)
        if self.unread() and (self.receiver.in_turn or out_of_order is not None):
            # RFC 2920 §3.1: DATA is the last of a group; what follows it unasked may be meant to be read as commands,
            # or was meant as a message and would be read as commands.
            self.closing = True
            return out_of_order or _EARLY
        if out_of_order is not None:
            return out_of_order
        if argument:
            return _NO_ARGUMENT
        transaction, self.transaction = self.transaction, Transaction(State.READY)
        intake = self.receiver.intake(self.session, transaction)
        async with intake.content:
            self.stream.push(_GO_AHEAD)
            reader = DotReader()
            self.progress = Progress(self.now())
            try:
                while not reader.done:
                    octets = self.stream.take()
                    if not octets:
                        await self.stream.more()
                        continue
                    self.progress.octets += len(octets)
                    await intake.feed(reader.feed(octets))
                    if intake.far_too_big:
                        self.closing = True
                        return _NEVER_ENDS
            finally:
                self.progress = None
            if reader.rest:
                self.stream.put_back(reader.rest)
            return await self._finish(transaction, intake)

    async def smtp_BDAT(self, argument: bytes) -> bytes:  # noqa: N802
        """A chunk of exactly so many octets. They are read even when the command is refused, never as commands."""
        try:
            size, last = parse_bdat(argument)
        except BadArgument:
            # How much follows is unknown, so the next command cannot be found.
            self.closing = True
            raise
        out_of_order = refusal("BDAT", self.transaction.state)
        if size > 2 * self.receiver.parts.max_size:
            self.closing = True
            return out_of_order or _CHUNK_TOO_BIG
        if out_of_order is not None:
            await self._read_chunk(size, None)
            self.progress = None
            return out_of_order
        if self._intake is None:
            self._intake = self.receiver.intake(self.session, self.transaction)
            await self._intake.content.__aenter__()
            self.transaction.state = State.CHUNKS
        await self._read_chunk(size, self._intake)
        if self._intake.far_too_big:
            self.closing = True
            return _NEVER_ENDS
        if not last:
            return _CHUNK_OK
        transaction, self.transaction = self.transaction, Transaction(State.READY)
        intake, self._intake = self._intake, None
        self.progress = None
        try:
            return await self._finish(transaction, intake)
        finally:
            await intake.content.__aexit__(None, None, None)

    async def _read_chunk(self, size: int, intake: Intake | None) -> None:
        progress = self.progress = self.progress or Progress(self.now())
        while size:
            octets = self.stream.take(size)
            if not octets:
                await self.stream.more()
                continue
            size -= len(octets)
            progress.octets += len(octets)
            if intake is not None:
                await intake.feed(octets)

    async def drop_chunks(self) -> None:
        """Forget a message that came in chunks and will not be completed."""
        self.progress = None
        if self._intake is not None:
            intake, self._intake = self._intake, None
            await intake.content.__aexit__(None, None, None)

    async def _finish(self, transaction: Transaction, intake: Intake) -> bytes:
        answered = False

        def answer(reply: Reply) -> None:
            nonlocal answered
            answered = True
            self.stream.say(reply.encode())

        try:
            reply = await self.receiver.finish(self.session, transaction, intake, lambda: self.stream.lost, answer)
        except ClientGone:
            raise ConnectionEnded from None
        except Exception as error:
            if not answered:
                raise
            # It is kept, whatever went wrong afterwards.
            await self.handle_exception(error)
            return b""
        if reply.code == 250:
            self.session.made_progress()
        self.closing = self.closing or reply.code == 421
        return b"" if answered else reply.encode()
