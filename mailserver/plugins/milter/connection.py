"""One connection to a filter: steps go out, answers come in, each within its time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from mailserver import api
from mailserver.plugins.milter.settings import MilterSettings

__all__ = ["MilterAway", "MilterConnection", "MilterFailed"]

#: A recipient was promised a delivery, and a sender judged, before the end of the message: who changes either does it
#: behind the back of all that was decided on it.
ACTIONS = (
    api.MilterAction.ADD_HEADERS | api.MilterAction.CHANGE_HEADERS | api.MilterAction.CHANGE_BODY
    | api.MilterAction.QUARANTINE | api.MilterAction.CHOOSE_MACROS
)  # fmt: skip
#: All of them, except that recipients whom we refuse are no business of a filter's.
STEPS = api.MilterStep(0x1FFFFF) & ~api.MilterStep.REFUSED_RECIPIENTS
_MOST_CHANGES = 500
_MOST_CHANGED = 1 << 20
_PIECE = 1 << 16


class MilterFailed(Exception):
    """The filter gave no answer; the text, for the log, says why."""


class MilterAway(MilterFailed):
    """There is no speaking with it at all, whatever the message."""


class MilterConnection:
    """After MilterFailed it is closed."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: MilterSettings
    ) -> None:
        self.agreed = api.Negotiated(2, api.MilterAction(0), api.MilterStep(0))
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._decoder = api.MilterDecoder()
        self._waiting: deque[api.MilterPacket | api.MilterAnswer | api.MilterEdit | api.MilterMalformed] = deque()

    @classmethod
    async def open(cls, endpoint: api.Endpoint, resolver: api.Resolver, settings: MilterSettings) -> MilterConnection:
        """Connect and negotiate. Raises MilterAway."""
        try:
            async with asyncio.timeout(settings.connect_timeout):
                reader, writer = await endpoint.open(resolver)
                made = cls(reader, writer, settings)
                try:
                    await made._negotiate()
                except BaseException:
                    made.close()
                    raise
                return made
        except TimeoutError:
            raise MilterAway("no connection within its time") from None
        except (OSError, api.LookupFailed) as error:
            raise MilterAway(f"no connection: {error}") from None
        except MilterFailed as error:
            raise MilterAway(str(error)) from None

    async def _negotiate(self) -> None:
        self._writer.write(api.milter.negotiate(ACTIONS, STEPS))
        packet = await self._next()
        if not isinstance(packet, api.MilterPacket) or packet.kind != b"O":
            raise MilterFailed("it does not answer the negotiation")
        agreed = api.milter.negotiated(packet.data, ACTIONS, STEPS)
        if isinstance(agreed, api.MilterMalformed):
            raise MilterFailed(agreed.text)
        self.agreed = agreed

    async def _next(self) -> api.MilterPacket | api.MilterAnswer | api.MilterEdit:
        while not self._waiting:
            octets = await self._reader.read(_PIECE)
            if not octets:
                raise MilterFailed("it closed the connection")
            self._waiting.extend(self._decoder.feed(octets))
        found = self._waiting.popleft()
        if isinstance(found, api.MilterMalformed):
            raise MilterFailed(f"it does not follow the protocol: {found.text}")
        return found

    def tell(self, octets: bytes) -> None:
        """Something that is not answered."""
        self._writer.write(octets)

    async def ask(self, octets: bytes, silent: api.MilterStep) -> api.MilterAnswer:
        """A step, and its answer: `continue` at once where `silent` was agreed on. Raises MilterFailed."""
        if self.agreed.steps & silent:
            await self._send(octets)
            return api.MilterAnswer("continue")
        answer, edits = await self._asked(octets, self._settings.command_timeout)
        if edits:
            raise MilterFailed("it changes a message before its end")
        return answer

    async def end(self, octets: bytes) -> tuple[api.MilterAnswer, list[api.MilterEdit]]:
        """The end of the message: the answer, and what is to be changed. Raises MilterFailed."""
        return await self._asked(octets, self._settings.content_timeout)

    async def _send(self, octets: bytes) -> None:
        try:
            async with asyncio.timeout(self._settings.command_timeout):
                self._writer.write(octets)
                await self._writer.drain()
        except TimeoutError:
            raise MilterFailed("it does not read what it is sent") from None
        except OSError as error:
            raise MilterFailed(f"the connection was lost: {error}") from None

    async def _asked(self, octets: bytes, within: float) -> tuple[api.MilterAnswer, list[api.MilterEdit]]:
        edits: list[api.MilterEdit] = []
        changed = body = 0
        await self._send(octets)
        try:
            async with asyncio.timeout(within) as limit:
                while True:
                    found = await self._next()
                    if isinstance(found, api.MilterAnswer):
                        return found, edits
                    if isinstance(found, api.MilterPacket):
                        # "progress": it is at work. How long all of this may take, the plugin's own limit says.
                        limit.reschedule(asyncio.get_running_loop().time() + within)
                        continue
                    edits.append(found)
                    if found.kind == "body":
                        body += len(found.value)
                    else:
                        changed += len(found.name) + len(found.value)
                    if body > self._settings.largest_body:
                        raise MilterFailed("its new body is larger than largest_body")
                    if changed > _MOST_CHANGED or len(edits) > _MOST_CHANGES + body // 1024:
                        raise MilterFailed("it wants to change too much")
        except TimeoutError:
            raise MilterFailed(f"no answer within {within:g} s") from None
        except OSError as error:
            raise MilterFailed(f"the connection was lost: {error}") from None

    def close(self) -> None:
        """Say goodbye, and do not wait for anything."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(api.milter.command("Q"))
            self._writer.close()
