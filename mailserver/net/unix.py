"""Unix sockets: their paths, how one is made, and who is at the other end."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Programs of one second are not to wait for the import of an event loop.
    import asyncio

__all__ = ["bind_unix", "local_peer", "our_peers", "peer_uid", "reachable_path", "remove_socket"]

# sun_path of Linux's sockaddr_un has 108 octets, one of them for the NUL.
_MAX_PATH = 107
_CREDENTIALS = struct.Struct("3i")
_LOCAL = "uid:"


@contextlib.contextmanager
def reachable_path(path: Path) -> Iterator[str]:
    """`path` in a form that fits into a socket address: through a descriptor of its directory when it is too long."""
    name = str(path)
    if len(os.fsencode(name)) <= _MAX_PATH:
        yield name
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A socket at `path` that may be listened on; one that was left there by a process that is gone is replaced.

    Raises:
        OSError: someone listens there, something else than a socket is there, or the directory cannot be written.
    """
    with reachable_path(path) as name:
        _make_room(path, name)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            listening.bind(name)
            # Nobody can connect between bind and listen, so nobody can come before the mode is right.
            os.chmod(name, mode)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            raise OSError(error.errno, f"cannot listen on {path}: {error.strerror}") from error
    return listening


def _make_room(path: Path, name: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(name).st_mode):
            raise OSError(errno.EEXIST, f"cannot listen on {path}: something else than a socket is there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect(name)
    except (FileNotFoundError, ConnectionRefusedError):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    except BlockingIOError:
        raise OSError(errno.EADDRINUSE, f"cannot listen on {path}: another process does") from None
    else:
        raise OSError(errno.EADDRINUSE, f"cannot listen on {path}: another process does")


def peer_uid(connection: asyncio.BaseTransport | asyncio.StreamWriter) -> int | None:
    """The user who connected to our Unix socket, as the kernel knows it (unix(7), SO_PEERCRED); None: not over one.

    Within a user name space that does not map the user it is 65534, nobody: hence no PrivateUsers= in the systemd unit.
    """
    sock = connection.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def local_peer(uid: int) -> str:
    """What stands in place of an IP address for a user of this machine."""
    return f"{_LOCAL}{uid}"


def our_peers() -> frozenset[str]:
    """root, and whoever we run as."""
    return frozenset((local_peer(0), local_peer(os.geteuid())))


def remove_socket(path: Path) -> None:
    """At the end. What a failing disk leaves there, the next start removes; it must not keep others from ending."""
    with contextlib.suppress(OSError):
        path.unlink()
