"""One question, put to name servers until one of them answers.

Whoever cannot see our packets must guess what an answer has to look like (RFC 5452 §9): every packet leaves from a
socket of its own, whose port the kernel draws and which hears only the server that it is connected to, with an id of 16
random bits; and equal questions are asked once (resolver.py). With that, letters in random case and cookies would add
little, and forwarders at home break on them. What does not fit is ignored and the wait goes on (CVE-2023-29483); when
somebody keeps guessing, the question is asked over TCP.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailserver.net.dns.servers import Server
from mailserver.wire.dns.message import Message, Question, encode_query, is_reply_to, is_truncated, parse_message

__all__ = ["NOERROR", "NXDOMAIN", "SERVFAIL", "Asker", "NoReply", "Reply", "rcode_name"]

#: Seconds to wait for each server in the first round; for all of them together in the second, … (RFC 1123 §6.1.3.3 asks
#: for growing ones).
WAITS = (2.0, 4.0, 8.0)
TCP_TIMEOUT = 5.0
#: Seconds after which a question is given up, however many servers there are.
MAX_TIME = 20.0
#: Questions at one time; each has at most a socket per round and server.
CONCURRENT = 200
#: Seconds for which a server that did not answer is asked after the others.
_SLOW = 30.0
_MAX_PACKET = 4096
#: Packets that are no answer of ours, after which somebody is taken to be guessing.
_MAX_JUNK = 20

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
_RCODES = {
    FORMERR: "FORMERR", SERVFAIL: "SERVFAIL", NOTIMP: "NOTIMP", REFUSED: "REFUSED", BADVERS: "BADVERS",
}  # fmt: skip


def rcode_name(rcode: int) -> str:
    """SERVFAIL for 2."""
    return _RCODES.get(rcode, f"RCODE {rcode}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said; `message.rcode` may tell a failure, when no other server did better."""

    message: Message
    server: Server

    @property
    def authentic(self) -> bool:
        """DNSSEC proved it, on the word of a server whose word counts."""
        return self.message.authentic and self.server.trusted


class NoReply(Exception):
    """No server said anything of use. `reason` has no addresses; the text has a reason for each server."""

    def __init__(self, reasons: dict[Server, str]) -> None:
        super().__init__("; ".join(f"{server}: {words}" for server, words in reasons.items()))
        self.reason = ", ".join(dict.fromkeys(reasons.values()))


@dataclass(slots=True, eq=False)
class _Packet:
    """A query under way, and the socket that hears its answer."""

    server: Server
    number: int
    socket: socket.socket
    edns: bool
    junk: int = 0


@dataclass(slots=True)
class _Heard:
    """An answer, or the kernel's word that nobody is there, or (neither) the suspicion that somebody guesses."""

    packet: _Packet
    data: bytes = b""
    error: str = ""


@dataclass(slots=True)
class _Failures:
    """Servers that are of no use for this question, and the best of what they said."""

    words: dict[Server, str] = field(default_factory=dict)
    reply: Reply | None = None


class Asker:
    """Asks name servers, a bounded number of questions at a time."""

    def __init__(
        self, *, waits: Sequence[float] = WAITS, tcp_timeout: float = TCP_TIMEOUT, concurrent: int = CONCURRENT
    ) -> None:
        self._waits = tuple(waits)
        self._tcp_timeout = tcp_timeout
        self._room = asyncio.Semaphore(concurrent)
        self._slow: dict[Server, float] = {}

    async def ask(
        self,
        servers: Sequence[Server],
        question: Question,
        *,
        checking_disabled: bool = False,
        rounds: int | None = None,
    ) -> Reply:
        """Ask the servers in their order, those that were slow lately last; `rounds` is how often each, at most.

        Raises:
            NoReply: none of them said anything.
        """
        async with self._room:
            hearing = _Hearing(question, checking_disabled)
            try:
                return await self._ask(hearing, self._in_order(servers), self._waits[:rounds])
            finally:
                hearing.close()

    async def _ask(self, hearing: _Hearing, servers: Sequence[Server], waits: Sequence[float]) -> Reply:
        loop = asyncio.get_running_loop()
        failures = _Failures()
        give_up = loop.time() + MAX_TIME
        for number, wait in enumerate(waits):
            each = wait / len(servers) if number else wait
            for server in servers:
                if server in failures.words or loop.time() >= give_up:
                    continue
                if error := hearing.send(server):
                    failures.words[server] = error
                    continue
                until = min(loop.time() + each, give_up)
                while server not in failures.words:
                    heard = await hearing.next(until - loop.time())
                    if heard is None:
                        self._slow[server] = loop.time() + _SLOW
                        break
                    reply = await self._judge(hearing, heard, failures)
                    if reply is not None:
                        self._slow.pop(reply.server, None)
                        return reply
        if failures.reply is not None:
            return failures.reply
        late = f"no answer in {min(sum(waits), MAX_TIME):g} s"
        raise NoReply({server: failures.words.get(server, late) for server in servers})

    async def _judge(self, hearing: _Hearing, heard: _Heard, failures: _Failures) -> Reply | None:
        """The reply, when it is one to build on; else the server is among the failures, unless it is asked again."""
        packet = heard.packet
        server, data = packet.server, heard.data
        if heard.error:
            failures.words[server] = heard.error
            return None
        if not data or is_truncated(data):
            try:
                data = await self._over_tcp(server, hearing.question, packet.edns, hearing.checking_disabled)
            except (OSError, EOFError) as error:
                failures.words[server] = f"over TCP: {_words(error)}"
                return None
        message = parse_message(data)
        if message is None:
            failures.words[server] = "a malformed answer"
            return None
        reply = Reply(message, server)
        if message.rcode in (NOERROR, NXDOMAIN):
            return reply
        if packet.edns and message.rcode in (FORMERR, NOTIMP, BADVERS):
            # RFC 6891 §7: it may know no EDNS at all.
            if words := hearing.send(server, edns=False):
                failures.words[server] = words
            return None
        failures.words[server] = rcode_name(message.rcode)
        if failures.reply is None or message.rcode == SERVFAIL:
            failures.reply = reply
        return None

    async def _over_tcp(self, server: Server, question: Question, edns: bool, checking_disabled: bool) -> bytes:
        """RFC 7766: two octets of length before each message. Raises OSError (TimeoutError too), EOFError."""
        loop = asyncio.get_running_loop()
        number = _random_id()
        query = encode_query(number, question, edns=edns, checking_disabled=checking_disabled)
        with socket.socket(server.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as made:
            async with asyncio.timeout(self._tcp_timeout):
                await loop.sock_connect(made, server.endpoint)
                await loop.sock_sendall(made, len(query).to_bytes(2, "big") + query)
                length = int.from_bytes(await _exactly(made, 2), "big")
                data = await _exactly(made, length)
        if not is_reply_to(data, number, question):
            raise EOFError("the answer is to another question")
        return data

    def _in_order(self, servers: Sequence[Server]) -> list[Server]:
        if not self._slow:
            return list(servers)
        now = asyncio.get_running_loop().time()
        self._slow = {server: until for server, until in self._slow.items() if until > now}
        return sorted(servers, key=lambda server: server in self._slow)


class _Hearing:
    """The packets of one question. All of them go on being heard until it is settled: slow answers are answers."""

    def __init__(self, question: Question, checking_disabled: bool) -> None:
        self.question = question
        self.checking_disabled = checking_disabled
        self._loop = asyncio.get_running_loop()
        self._packets: list[_Packet] = []
        self._heard: deque[_Heard] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def send(self, server: Server, *, edns: bool = True) -> str:
        """Returns words when it cannot be sent."""
        number = _random_id()
        query = encode_query(number, self.question, edns=edns, checking_disabled=self.checking_disabled)
        try:
            made = socket.socket(server.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            return _words(error)
        packet = _Packet(server, number, made, edns)
        try:
            made.connect(server.endpoint)
            made.send(query)
        except OSError as error:
            made.close()
            return _words(error)
        self._packets.append(packet)
        self._loop.add_reader(made.fileno(), self._read, packet)
        return ""

    async def next(self, seconds: float) -> _Heard | None:
        """Whatever is heard next; None: nothing in this time."""
        if not self._heard:
            if seconds <= 0:
                return None
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(seconds, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self._heard.popleft() if self._heard else None

    def close(self) -> None:
        for packet in self._packets:
            self._loop.remove_reader(packet.socket.fileno())
            packet.socket.close()
        self._packets.clear()

    def _read(self, packet: _Packet) -> None:
        try:
            data = packet.socket.recv(_MAX_PACKET)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._hear(_Heard(packet, error=_words(error)))
            return
        if is_reply_to(data, packet.number, self.question):
            self._hear(_Heard(packet, data))
            return
        packet.junk += 1
        if packet.junk >= _MAX_JUNK:
            self._hear(_Heard(packet))

    def _hear(self, heard: _Heard) -> None:
        self._loop.remove_reader(heard.packet.socket.fileno())
        self._heard.append(heard)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _exactly(made: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    parts = bytearray()
    while len(parts) < size:
        part = await loop.sock_recv(made, size - len(parts))
        if not part:
            raise EOFError("the connection ended before the answer")
        parts += part
    return bytes(parts)


def _random_id() -> int:
    return int.from_bytes(os.urandom(2), "big")


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "no answer in time"
