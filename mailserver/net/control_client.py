"""The admin socket's client, for commands: blocking, without an event loop, quick to import."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mailserver.net.unix import reachable_path
from mailserver.wire.control import LENGTH_SIZE, MAX_ANSWER, MAX_REQUEST, decode_answer, encode, frame_length

__all__ = ["ControlRefused", "ControlUnreachable", "call"]

CONNECT_TIMEOUT = 5.0


class ControlUnreachable(Exception):
    """No server answers at the socket."""


class ControlRefused(Exception):
    """The server said no; the text is for the operator."""


def call(
    path: Path,
    command: str,
    arguments: Mapping[str, Any],
    body: BinaryIO | None = None,
    *,
    timeout: float | None = None,
) -> Any:
    """Ask the running server, and return its result. `body` is a file from its present position to its end.

    Without `timeout` (seconds) an answer is waited for as long as it takes: rebuilding a large mailbox is no error.

    Raises:
        ControlUnreachable: nobody is there, or the connection broke.
        ControlRefused: the server's own words.
    """
    size = _left(body) if body else 0
    request = encode({"command": command, "arguments": dict(arguments), "body": size}, MAX_REQUEST)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(CONNECT_TIMEOUT)
        try:
            with reachable_path(path) as name:
                connection.connect(name)
            connection.settimeout(timeout)
            connection.sendall(request)
            if body:
                connection.sendfile(body)
            head = _exactly(connection, LENGTH_SIZE)
            good, result = decode_answer(_exactly(connection, frame_length(head, MAX_ANSWER)))
        except OSError as error:
            raise ControlUnreachable(f"{path}: {error.strerror or error}") from None
    if not good:
        raise ControlRefused(result)
    return result


def _left(body: BinaryIO) -> int:
    at = body.tell()
    end = body.seek(0, os.SEEK_END)
    body.seek(at)
    return end - at


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise ConnectionResetError("the server closed the connection without an answer")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
