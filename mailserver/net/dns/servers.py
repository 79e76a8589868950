"""Which name servers are asked, and whose word about DNSSEC counts: `[dns]`, or /etc/resolv.conf as it is now."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mailserver.net.networks import NetworkSet, parse_ip
from mailserver.net.settings import DnsSettings, check_resolver
from mailserver.ports.clock import Clock

__all__ = ["RESOLV_CONF", "Server", "Servers"]

RESOLV_CONF = Path("/etc/resolv.conf")
#: Seconds between looks at the file.
_LOOK = 5.0
_MAX_SERVERS, _MAX_FILE = 8, 64 * 1024
#: Docker's own: it stands on loopback, but hands on what another machine says, AD bit and all.
_PASSED_ON = ("127.0.0.11",)
#: resolv.conf(5): without a nameserver line, the one on this machine is asked.
_DEFAULT = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """One resolver. `trusted`: its AD bit counts (RFC 6840 §5.8, RFC 7672 §2.1.1: only where the way to it is safe)."""

    address: str
    port: int
    trusted: bool

    def __str__(self) -> str:
        name = f"[{self.address}]" if ":" in self.address else self.address
        return name if self.port == 53 else f"{name}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    @property
    def endpoint(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """For `connect`. Raises OSError when the zone of a link-local address is no interface."""
        if ":" not in self.address:
            return self.address, self.port
        address, _, zone = self.address.partition("%")
        index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
        return address, self.port, 0, index


class Servers:
    """The servers in the order to ask them; `changed` counts the times that they became others."""

    def __init__(self, settings: DnsSettings, clock: Clock, resolv_conf: Path = RESOLV_CONF) -> None:
        self.changed = 0
        self._clock = clock
        self._path = resolv_conf
        self.update(settings)

    def update(self, settings: DnsSettings) -> None:
        """Go by other settings from now on."""
        self.changed += 1
        self._trusted = NetworkSet(settings.trust_ad)
        self._fixed = bool(settings.servers)
        self._servers = self._of([check_resolver(text) for text in settings.servers], trust_all=False)
        self._seen: tuple[int, ...] | None = None
        self._looked = -_LOOK

    @property
    def source(self) -> str:
        """Where they are named."""
        return "[dns] servers" if self._fixed else str(self._path)

    def current(self) -> tuple[Server, ...]:
        """As they are now: a file that is replaced is noticed within seconds."""
        now = self._clock.monotonic()
        if not self._fixed and now - self._looked >= _LOOK:
            self._looked = now
            self._look()
        return self._servers

    def _look(self) -> None:
        try:
            found = self._path.stat()
            seen: tuple[int, ...] = (found.st_mtime_ns, found.st_ino, found.st_size)
        except OSError:
            seen = ()
        if seen == self._seen:
            return
        self._seen = seen
        addresses, trust_all = _read(self._path)
        if not addresses and self._servers:
            # Somebody is about to write it; what was there goes on to count.
            return
        servers = self._of([(address, 53) for address in addresses or [_DEFAULT]], trust_all=trust_all)
        if servers != self._servers:
            self._servers = servers
            self.changed += 1

    def _of(self, endpoints: Iterable[tuple[str, int]], *, trust_all: bool) -> tuple[Server, ...]:
        return tuple(
            Server(address, port, trust_all or _is_loopback(address) or address in self._trusted)
            for address, port in dict.fromkeys(endpoints)
        )[:_MAX_SERVERS]


def _is_loopback(address: str) -> bool:
    parsed = parse_ip(address)
    return parsed is not None and parsed.is_loopback and str(parsed) not in _PASSED_ON


def _read(path: Path) -> tuple[list[str], bool]:
    """The nameserver lines, and whether `options trust-ad` stands there (resolv.conf(5))."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE).decode("utf-8", "replace")
    except OSError:
        return [], False
    addresses, trust = [], False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1 and parse_ip(words[1]) is not None:
            addresses.append(words[1])
        elif words[:1] == ["options"]:
            trust = trust or "trust-ad" in words[1:]
    return addresses, trust
