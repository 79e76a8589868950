"""A name server on loopback that says what a test wants it to say, the truth or anything else.

It runs in threads of its own: for tests with an event loop, and for those that start a whole server. Give `endpoint` to
`[dns] servers`. It plays a validating resolver: answers of names that are `authentic` have AD, `bogus` ones are
SERVFAIL unless checking is disabled.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

__all__ = ["Asked", "DnsServer", "Handler"]

ANY_KIND = "*"
_SOA = "ns.test. hostmaster.test. 1 7200 3600 1209600 {minimum}"


@dataclass(frozen=True, slots=True)
class Asked:
    """One query; `raw` is the packet."""

    name: str
    kind: str
    tcp: bool
    message: dns.message.Message
    raw: bytes

    def answer(self, *records: str, kind: str = "", ttl: int = 300) -> dns.message.Message:
        """A good answer with these records in the form of zone files."""
        made = dns.message.make_response(self.message, recursion_available=True)
        if records:
            made.answer.append(dns.rrset.from_text(self.name + ".", ttl, "IN", kind or self.kind, *records))
        return made


#: Gives the packets to send, in order; none at all is silence.
Handler = Callable[[Asked], Iterable[bytes]]


@dataclass
class _Name:
    records: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    authentic: bool = False
    bogus: bool = False


class DnsServer:
    """A context manager; `queries` has every (name, type) that came, `asked` all about each."""

    def __init__(self, address: str = "127.0.0.1", *, negative_ttl: int = 60) -> None:
        self.asked: list[Asked] = []
        self.negative_ttl = negative_ttl
        self._names: dict[str, _Name] = {}
        self._handlers: dict[tuple[str, str], Handler] = {}
        #: Where the datagrams came from.
        self.peers: list[Any] = []
        self._udp, self._tcp = _servers(address, self._reply, self.peers)
        self.address = address
        self.port: int = self._udp.server_address[1]
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            for server in (self._udp, self._tcp)
        ]

    @property
    def endpoint(self) -> str:
        """For the configuration."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def queries(self) -> list[tuple[str, str]]:
        return [(asked.name, asked.kind) for asked in self.asked]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for server, thread in zip((self._udp, self._tcp), self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()

    def send(self, packet: bytes, peer: Any) -> None:
        """A datagram that nobody asked for just now."""
        self._udp.socket.sendto(packet, peer)

    def add(self, name: str, kind: str, *records: str, ttl: int = 300, authentic: bool = False) -> None:
        """`name` has these records of this type (and no others); names that have none at all do not exist."""
        entry = self._names.setdefault(name.lower(), _Name())
        entry.records[kind] = ttl, records
        entry.authentic = authentic

    def bogus(self, name: str) -> None:
        """The signatures of this name are wrong."""
        self._names.setdefault(name.lower(), _Name()).bogus = True

    def fail(self, name: str, kind: str = ANY_KIND, rcode: str = "SERVFAIL") -> None:
        """Answer questions for this name with a code."""
        self.script(name, kind, lambda asked: [_coded(asked, rcode)])

    def silent(self, name: str, kind: str = ANY_KIND) -> None:
        """Never answer."""
        self.script(name, kind, lambda _: [])

    def deny(self, name: str, types: str = "RRSIG NSEC TYPE128") -> None:
        """Say without an error that there are no such records, and to who wants proofs that the name has these types;
        by default those of one that does not exist (RFC 9824)."""

        def reply(asked: Asked) -> list[bytes]:
            made = asked.answer()
            soa = _SOA.format(minimum=self.negative_ttl)
            made.authority.append(dns.rrset.from_text("test.", self.negative_ttl, "IN", "SOA", soa))
            if asked.message.ednsflags & dns.flags.DO:
                made.authority.append(dns.rrset.from_text(f"{name}.", 60, "IN", "NSEC", f"\\000.{name}. {types}"))
            return [made.to_wire()]

        self.script(name, ANY_KIND, reply)

    def script(self, name: str, kind: str, handler: Handler) -> None:
        """Leave the answer to a function; name "*" is every name."""
        self._handlers[name.lower(), kind] = handler

    def _reply(self, packet: bytes, tcp: bool) -> list[bytes]:
        try:
            query = dns.message.from_wire(packet)
        except Exception:
            return []
        question = query.question[0]
        name = question.name.to_text().rstrip(".").lower()
        asked = Asked(name, dns.rdatatype.to_text(question.rdtype), tcp, query, packet)
        self.asked.append(asked)
        for key in ((name, asked.kind), (name, ANY_KIND), ("*", asked.kind), ("*", ANY_KIND)):
            if key in self._handlers:
                return list(self._handlers[key](asked))
        wire = self._answer(asked).to_wire(max_size=65535)
        room = 65535 if tcp else max(query.payload, 512)
        if len(wire) <= room:
            return [wire]
        cut = dns.message.make_response(query, recursion_available=True)
        cut.flags |= dns.flags.TC
        return [cut.to_wire()]

    def _answer(self, asked: Asked) -> dns.message.Message:
        made = dns.message.make_response(asked.message, recursion_available=True)
        name, authentic = asked.name, True
        for _ in range(20):
            entry = self._names.get(name)
            if entry is not None and entry.bogus and not asked.message.flags & dns.flags.CD:
                made.answer.clear()
                made.set_rcode(dns.rcode.SERVFAIL)
                return made
            authentic = authentic and entry is not None and entry.authentic
            found = entry.records.get(asked.kind) if entry else None
            alias = entry.records.get("CNAME") if entry else None
            if found is not None and found[1]:
                made.answer.append(dns.rrset.from_text(name + ".", found[0], "IN", asked.kind, *found[1]))
                break
            if alias is None or asked.kind == "CNAME":
                made.authority.append(
                    dns.rrset.from_text("test.", 0x7FFFFFFF, "IN", "SOA", _SOA.format(minimum=self.negative_ttl))
                )
                if entry is None:
                    made.set_rcode(dns.rcode.NXDOMAIN)
                break
            made.answer.append(dns.rrset.from_text(name + ".", alias[0], "IN", "CNAME", *alias[1]))
            name = alias[1][0].rstrip(".").lower()
        if authentic and asked.message.flags & dns.flags.AD:
            made.flags |= dns.flags.AD
        return made


def _coded(asked: Asked, rcode: str) -> bytes:
    made = dns.message.make_response(asked.message, recursion_available=True)
    made.set_rcode(dns.rcode.from_text(rcode))
    return made.to_wire()


def _servers(
    address: str, reply: Callable[[bytes, bool], list[bytes]], peers: list[Any]
) -> tuple[socketserver.ThreadingUDPServer, socketserver.ThreadingTCPServer]:
    """A UDP and a TCP server on one port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, made = self.request
            peers.append(self.client_address)
            for packet in reply(data, False):
                made.sendto(packet, self.client_address)

    class Tcp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(10)
            with self.request.makefile("rb") as file:
                while len(length := file.read(2)) == 2:
                    data = file.read(int.from_bytes(length, "big"))
                    for packet in reply(data, True):
                        self.request.sendall(len(packet).to_bytes(2, "big") + packet)

    class UdpServer(socketserver.ThreadingUDPServer):
        address_family = family
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """The test is over, or its client."""

    class TcpServer(socketserver.ThreadingTCPServer):
        address_family = family
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """The test is over, or its client."""

    for _ in range(20):
        udp = UdpServer((address, 0), Udp)
        try:
            return udp, TcpServer((address, udp.server_address[1]), Tcp)
        except OSError:
            udp.server_close()
    raise OSError("no port is free for both UDP and TCP")
