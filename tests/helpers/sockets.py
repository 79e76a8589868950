"""A blocking connection of a client that sends exactly the octets it is told to."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType
from typing import Self

__all__ = ["BlockingClient", "Closed"]


class Closed(Exception):
    """The server closed the connection."""


class BlockingClient:
    """Once it is made, `greet` reads what the server says first."""

    def __init__(
        self, port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, name: str = "localhost",
        source: str = "", timeout: float,
    ) -> None:  # fmt: skip
        self.sock: socket.socket = socket.create_connection(
            (host, port), timeout=timeout, source_address=(source, 0) if source else None
        )
        self._buffer = b""
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                self.sock = tls.wrap_socket(self.sock, server_hostname=name)
            self.greet()
        except BaseException:
            self.sock.close()
            raise

    def greet(self) -> None:
        """Of a protocol in which the server speaks first."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Without a goodbye."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Exactly these octets."""
        self.sock.sendall(data)

    def _receive(self) -> None:
        """More into the buffer. Raises Closed."""
        try:
            more = self.sock.recv(262144)
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed from error
        if not more:
            raise Closed(self._buffer)
        self._buffer += more
