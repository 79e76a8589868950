"""Addresses of services that the operator names: filters, scanners. A Unix socket, or a host and a port."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from mailserver.net.unix import reachable_path
from mailserver.ports.resolver import Resolver

__all__ = ["Endpoint"]

_SENDMAIL = re.compile(r"([0-9]{1,5})@(.+)")
_LOCAL = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` of a Unix socket, or `host` (an IP address or a name) and `port`."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """`/run/x.sock`, `unix:/run/x.sock`, `local:…`, `127.0.0.1:8891`, `[::1]:8891`, `inet:8891@host`.

        Raises:
            ValueError: with words for the operator.
        """
        kind, _, rest = text.partition(":")
        if kind in ("unix", "local") or text.startswith("/"):
            path = text if text.startswith("/") else rest
            if not path.startswith("/"):
                raise ValueError("the path of a socket begins with /")
            return cls(path=path)
        if kind in ("inet", "inet6"):
            text = rest
        turned = _SENDMAIL.fullmatch(text)
        host, _, port = (turned[2], ":", turned[1]) if turned else text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError('must be "unix:/path/of/socket" or "host:port"')
        return cls(host=host, port=int(port))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def open(
        self, resolver: Resolver, *, limit: int = 1 << 16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. Whoever calls it says how long that may take.

        Raises:
            OSError, LookupFailed.
        """
        return await asyncio.open_connection(sock=await self.connect(resolver), limit=limit)

    async def connect(self, resolver: Resolver) -> socket.socket:
        """A connected socket that does not block. Raises as `open`."""
        if self.path:
            with reachable_path(Path(self.path)) as path:
                return await _connected(socket.AF_UNIX, path)
        last = OSError(f"{self.host} has no address")
        for address in await self.addresses(resolver):
            try:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                return await _connected(family, (address, self.port))
            except OSError as error:
                last = error
        raise last

    async def addresses(self, resolver: Resolver) -> tuple[str, ...]:
        """The literals of the host; "localhost" is this machine whatever DNS says (RFC 6761 §6.3)."""
        if self.host.lower().rstrip(".") == "localhost":
            return _LOCAL
        try:
            return (str(ipaddress.ip_address(self.host)),)
        except ValueError:
            return tuple((await resolver.addresses(self.host)).records)


async def _connected(family: socket.AddressFamily, where: str | tuple[str, int]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made
