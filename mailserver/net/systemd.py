"""The two protocols of systemd that a daemon speaks: readiness messages and inherited sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence

__all__ = ["FIRST_FD", "InheritedSockets", "Notifier", "Socket", "inherited_sockets"]

FIRST_FD = 3

#: For those who pass sockets on and do nothing else with them.
Socket = socket.socket
InheritedSockets = Mapping[str, Sequence[socket.socket]]


class Notifier:
    """sd_notify(3): datagrams to $NOTIFY_SOCKET; does nothing when there is none. Never raises, never blocks."""

    def __init__(self, address: str) -> None:
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            # A leading @ stands for the NUL of Linux's abstract name space.
            self._address = f"\0{address[1:]}" if address[0] == "@" else address

    def send(self, *assignments: str) -> None:
        """Tell the manager, for example `send("READY=1", "STATUS=serving")`."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return  # the manager is gone or busy; the next message says it again

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def inherited_sockets(environ: MutableMapping[str, str], names: Sequence[str]) -> dict[str, list[socket.socket]]:
    """The sockets that systemd opened for us, by FileDescriptorName (sd_listen_fds(3)); the variables are removed.

    Raises:
        ValueError: a name that is none of `names`, or variables that cannot be right.
    """
    pid, count, given = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if not count or pid != str(os.getpid()):
        return {}
    if not (count.isascii() and count.isdecimal() and len(count) < 5):
        raise ValueError(f"LISTEN_FDS is not a number: {count[:20]!r}")
    labels = given.split(":")
    if len(labels) != int(count):
        raise ValueError("each inherited socket needs a name: FileDescriptorName= in its .socket unit")
    if unknown := sorted(set(labels) - set(names)):
        known = ", ".join(names)
        raise ValueError(f"inherited socket named {unknown[0][:60]!r}; FileDescriptorName= must be one of {known}")
    out: dict[str, list[socket.socket]] = {}
    for number, label in enumerate(labels, FIRST_FD):
        os.set_inheritable(number, False)
        inherited = socket.socket(fileno=number)
        inherited.setblocking(False)
        out.setdefault(label, []).append(inherited)
    return out
