"""Listening sockets and the connections that came through them.

A listener owns its connections: it admits them, keeps them in a set, and ends them in two phases when it stops. It
never waits for `asyncio.Server.wait_closed`, which returns at once on Python 3.11 and waits for every connection from
3.12 on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from mailserver.net.accept import Gate
from mailserver.net.connections import ConnectionTable
from mailserver.net.networks import NetworkSet
from mailserver.net.settings import check_address
from mailserver.net.unix import bind_unix, local_peer, peer_uid, remove_socket

__all__ = ["Connection", "ConnectionTable", "Listener"]

_BACKLOG = 1024
_LAST_COMMITS = 5.0

log = structlog.get_logger()


class Connection(Protocol):
    """What a listener needs of a connection."""

    def begin_shutdown(self) -> None:
        """Finish the command in hand, say goodbye, close."""
        ...

    def abort(self) -> None:
        """Close now."""
        ...


class Listener:
    """A service that listens. Connections register in `connection_made` and leave when their work is over.

    With `tls` the handshake comes first; with `proxy_from`, peers at those addresses must begin with a PROXY header
    (version 1 or 2), before TLS too. Both happen before the factory's protocol hears of the connection, and count
    as connections. With `path`, programs on this machine may connect to a Unix socket there, whoever runs them.
    `inherited` sockets (systemd) replace `addresses` and `path`.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        factory: Callable[[Listener], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
        inherited: Sequence[socket.socket] = (),
        table: ConnectionTable,
        drain: float = 20.0,
        proxy_from: Sequence[str] = (),
        handshake_timeout: float = 10.0,
        path: Path | None = None,
    ) -> None:
        self.name = name
        self.tls = tls
        self.table = table
        self.handshake_timeout = handshake_timeout
        #: The real addresses, once `run` called `ready`: (host, port).
        self.bound: list[tuple[str, int]] = []
        self.proxies = NetworkSet(proxy_from)
        self._gated = tls is not None or bool(proxy_from)
        self.path = path
        self._addresses = [check_address(address) for address in addresses]
        self._factory = factory
        self._inherited = list(inherited)
        self._drain = drain
        self._connections: dict[Connection, str] = {}
        self._admitted: set[object] = set()
        self._peers: dict[object, tuple[str, int]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Those of now."""
        return tuple(self._connections)

    def make_protocol(self) -> asyncio.BaseProtocol:
        """A protocol of the factory, for a connection that passed the gate."""
        return self._factory(self)

    def peername(self, protocol: asyncio.BaseProtocol, transport: asyncio.BaseTransport) -> tuple[str, int]:
        """The client's address and port: what the PROXY header said, else the socket's. ("", 0) when it is gone.

        Over a Unix socket the user stands in place of the address: ("uid:33", 0).
        """
        known = self._peers.get(protocol)
        if known is not None:
            return known
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple) and len(name) >= 2:
            return name[0].partition("%")[0], name[1]
        uid = peer_uid(transport)
        return ("" if uid is None else local_peer(uid)), 0

    def opened(self, connection: Connection, peer: str) -> str | None:
        """Take a connection in. A reason means: say it, and close. `closed` must follow in both cases."""
        admitted = connection in self._admitted
        self._admitted.discard(connection)
        if self._stopping:
            if admitted:
                self.table.release(peer)
            return "the server is stopping"
        if not admitted:
            reason = self.table.admit(peer)
            if reason is not None:
                return reason
        self._connections[connection] = peer
        self._empty.clear()
        return None

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""
        peer = self._connections.pop(connection, None)
        self._peers.pop(connection, None)
        if peer is not None:
            self.table.release(peer)
        if not self._connections:
            self._empty.set()

    def gate_passed(self, gate: Connection, protocol: asyncio.BaseProtocol, peer: tuple[str, int]) -> None:
        """The gate hands over to the real protocol, whose `opened` follows at once; what was counted is counted on.

        Behind a PROXY header stands another address: that one is counted instead.
        """
        counted = self._connections.pop(gate, None)
        self._peers[protocol] = peer
        if counted == peer[0]:
            self._admitted.add(protocol)
        elif counted is not None:
            self.table.release(counted)

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Serve until `stopping`; then stop accepting, let connections finish for `drain` seconds, abort the rest."""
        loop = asyncio.get_running_loop()
        make = self._make_gate if self._gated else self.make_protocol
        servers: list[asyncio.Server] = []
        try:
            for sock in self._inherited or self._bind_all():
                servers.append(await _serve(loop, make, sock))
                name = sock.getsockname()
                if isinstance(name, tuple):
                    self.bound.append((name[0], name[1]))
            ready()
            await stopping.wait()
            self._stopping = True
            for server in servers:
                server.close()
            for connection in list(self._connections):
                connection.begin_shutdown()
            try:
                await asyncio.wait_for(self._empty.wait(), self._drain)
            except TimeoutError:
                log.info("connections cut off at the end of the drain time", listener=self.name, count=len(self))
                await self._cut_off()
        finally:
            self._stopping = True
            for server in servers:
                server.close()
            for connection in list(self._connections):
                connection.abort()
            if self.path is not None and not self._inherited:
                remove_socket(self.path)

    async def _cut_off(self) -> None:
        """Abort what is left; a commit in hand still runs to its end, and its connection counts until then."""
        for connection in self.connections:
            connection.abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), _LAST_COMMITS)

    def _make_gate(self) -> asyncio.BaseProtocol:
        return Gate(self)

    def _bind_all(self) -> list[socket.socket]:
        sockets: list[socket.socket] = []
        try:
            for host, port in self._addresses:
                sockets.extend(_bind(host, port))
            if self.path is not None:
                sockets.append(bind_unix(self.path, 0o666))
        except OSError:
            for sock in sockets:
                sock.close()
            raise
        return sockets


async def _serve(
    loop: asyncio.AbstractEventLoop, make: Callable[[], asyncio.BaseProtocol], sock: socket.socket
) -> asyncio.Server:
    # asyncio's own loop takes both kinds here, and its `create_unix_server` (from 3.13 on) would in the end remove the
    # file of a socket that we only inherited; uvloop's takes TCP only.
    if isinstance(loop, asyncio.BaseEventLoop):
        # There `backlog` is also how many connections it takes at once, and how often it fails when no file is left:
        # each time with a line in the log and a timer (ATTACKS B06).
        server = await loop.create_server(make, sock=sock, backlog=1)
        sock.listen(_BACKLOG)
        return server
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(make, sock=sock, backlog=_BACKLOG)
    return await loop.create_server(make, sock=sock, backlog=_BACKLOG)


def _bind(host: str, port: int) -> list[socket.socket]:
    """Bind one configured address: a name may stand for several addresses, an empty host for both IP versions."""
    found = socket.getaddrinfo(
        None if host in ("", "*") else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.setblocking(False)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {host or '*'}:{port}: {error.strerror}") from error
    return sockets
