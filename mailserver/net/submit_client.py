"""SMTP over the Unix socket for programs on this machine: blocking, standard library only, quick to import."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from mailserver.net.unix import reachable_path

__all__ = ["NoServer", "SubmitClient", "relay"]

#: Seconds for each reply. A server that restarts lets us wait at its inherited socket meanwhile.
TIMEOUT = 300.0
#: Seconds until "too many connections of yours" is believed.
PATIENCE = 30.0
_LONGEST_REPLY = 64 << 10
_CHUNK = 1 << 16


class NoServer(Exception):
    """Nobody answers, or the connection broke; the text says which."""


class SubmitClient:
    """One connection; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer = b""
        self._socket = _connect(path)

    def __enter__(self) -> SubmitClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def greeting(self) -> tuple[int, str]:
        """The server's first reply; when it is busy with our user, later. Raises NoServer."""
        until = time.monotonic() + PATIENCE
        while True:
            code, text = self.reply()
            if code != 421 or time.monotonic() > until:
                return code, text
            self._socket.close()
            time.sleep(0.5)
            self._buffer, self._socket = b"", _connect(self._path)

    def command(self, line: str) -> tuple[int, str]:
        """Send a command line (without its line end); the reply. Raises NoServer."""
        self.send(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return self.reply()

    def send(self, octets: bytes) -> None:
        """Raises NoServer."""
        try:
            self._socket.sendall(octets)
        except OSError as error:
            raise NoServer(f"{self._path}: {error.strerror or error}") from None

    def data(self, lines: Iterable[bytes]) -> tuple[int, str]:
        """The message after 354: lines with LF or CRLF at their ends; the reply to its end. Raises NoServer."""
        out: list[bytes] = []
        size = 0
        for line in lines:
            # RFC 5321 §4.5.2.
            text = b"." + line if line.startswith(b".") else line
            out.append((text[:-2] if text.endswith(b"\r\n") else text.removesuffix(b"\n")) + b"\r\n")
            size += len(text)
            if size >= _CHUNK:
                self.send(b"".join(out))
                out, size = [], 0
        self.send(b"".join([*out, b".\r\n"]))
        return self.reply()

    def reply(self) -> tuple[int, str]:
        """The next reply: its code, and its lines of text joined. Raises NoServer."""
        texts = []
        while True:
            line = self._line()
            if not line[:3].isdigit() or line[3:4] not in (b" ", b"-", b""):
                raise NoServer(f"{self._path}: what answers there is no mail server")
            texts.append(line[4:].decode("ascii", "replace"))
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(texts)

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_REPLY:
                raise NoServer(f"{self._path}: what answers there is no mail server")
            try:
                piece = self._socket.recv(_CHUNK)
            except OSError as error:
                raise NoServer(f"{self._path}: {error.strerror or error}") from None
            if not piece:
                raise NoServer(f"{self._path}: the server closed the connection")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


def relay(path: Path, source: int, sink: int) -> bool:
    """A dialogue between two file descriptors and the server, until the server ends it; was it with a farewell (221)?

    A client whose first line ends in a bare LF means CRLF everywhere. Raises NoServer: nobody answers.
    """
    with _connect(path) as server:
        server.settimeout(None)
        threading.Thread(target=_pass_on, args=(source, server), daemon=True).start()
        tail = b""
        while octets := _received(server):
            tail = (tail + octets)[-_LONGEST_REPLY:]
            while octets:
                octets = octets[os.write(sink, octets) :]
    return tail.rstrip(b"\r\n").rpartition(b"\n")[2].startswith(b"221")


def _pass_on(source: int, server: socket.socket) -> None:
    bare: bool | None = None
    last = b""
    with contextlib.suppress(OSError):
        while octets := os.read(source, _CHUNK):
            if bare is None and b"\n" in octets:
                first = (last + octets).partition(b"\n")[0]
                bare = not first.endswith(b"\r")
            server.sendall(octets.replace(b"\n", b"\r\n") if bare else octets)
            last = octets[-1:]
        server.shutdown(socket.SHUT_WR)


def _received(server: socket.socket) -> bytes:
    try:
        return server.recv(_CHUNK)
    except ConnectionError:
        return b""


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Not Python's timeout, with which a full backlog would be an error at once (unix(7), EAGAIN).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(PATIENCE), 0))
        with reachable_path(path) as name:
            connection.connect(name)
        connection.settimeout(TIMEOUT)
    except OSError as error:
        connection.close()
        raise NoServer(f"{path}: {error.strerror or error}") from None
    return connection
