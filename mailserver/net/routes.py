"""What the kernel's routing table knows, asked without sending anything: a datagram socket is only connected."""

from __future__ import annotations

import socket

from mailserver.net.networks import parse_ip
from mailserver.ports.clock import Clock

__all__ = ["Routes", "is_local", "source_for"]

#: A name server of the root zone; nothing is ever sent to it.
_FAR_AWAY = "2001:500:2f::f"
#: Seconds for which the answer counts: an interface comes up, a tunnel goes down.
_REMEMBERED = 60.0
_DISCARD = 9


def source_for(address: str) -> str:
    """Our address towards this IP literal. "": no route, or this family is not there at all."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _DISCARD))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def is_local(address: str) -> bool:
    """Is this IP literal one of this machine's own addresses? Those of loopback count."""
    parsed = parse_ip(address)
    if parsed is None:
        return False
    # The kernel sends to its own address from that very address.
    return parsed.is_loopback or parsed.is_unspecified or source_for(str(parsed)) == str(parsed)


class Routes:
    """Which families lead to the Internet; looked at anew once a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked = -_REMEMBERED
        self._ipv6 = False

    def ipv6(self) -> bool:
        """Is there a way to IPv6 addresses of other networks?"""
        now = self._clock.monotonic()
        if now - self._looked >= _REMEMBERED:
            self._looked, self._ipv6 = now, bool(source_for(_FAR_AWAY))
        return self._ipv6
