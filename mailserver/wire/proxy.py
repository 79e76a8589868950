"""The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt), read without taking one octet too many.

Behind the header comes the client's own stream, possibly a TLS handshake, which must be left where it is. So the reader
says how many octets it wants next, and never wants more than the header has.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["BadProxyHeader", "ProxyHeader", "ProxyReader"]

_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_LONGEST = 107  # the protocol's own figure, CRLF included
_V2_LONGEST = 2048  # addresses and TLVs; what proxies send is far below
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


class BadProxyHeader(Exception):
    """These octets are no PROXY header; the connection is of no use."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The client's address. `address` is "" when the proxy speaks for itself (LOCAL, UNKNOWN): the socket's counts."""

    address: str = ""
    port: int = 0


class ProxyReader:
    """Feed it at most `wanted` octets at a time, until `header` is there."""

    def __init__(self) -> None:
        self._data = bytearray()
        #: How many octets may be fed next.
        self.wanted = len(_V2_SIGNATURE)
        self.header: ProxyHeader | None = None

    def feed(self, octets: bytes) -> None:
        """Take octets in. Raises BadProxyHeader as soon as they cannot become a header."""
        if len(octets) > self.wanted or self.header is not None:
            raise BadProxyHeader("more was fed than was wanted")
        self._data += octets
        self.wanted -= len(octets)
        begin = bytes(self._data)
        if not (_V2_SIGNATURE.startswith(begin[:12]) or b"PROXY ".startswith(begin[:6])):
            raise BadProxyHeader("neither version 1 nor version 2")
        if self.wanted == 0:
            if begin.startswith(_V2_SIGNATURE):
                self._version_2()
            else:
                self._version_1()

    def _version_1(self) -> None:
        if not self._data.endswith(b"\r\n"):
            if len(self._data) >= _V1_LONGEST:
                raise BadProxyHeader("the line does not end")
            self.wanted = 1
            return
        # "PROXY UNKNOWN" may be followed by anything, which is not looked at.
        line = bytes(self._data)
        if line.startswith((b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r")):
            self.header = ProxyHeader()
            return
        match = _V1.fullmatch(self._data)
        if match is None:
            raise BadProxyHeader("the line is malformed")
        version = 4 if match[1] == b"TCP4" else 6
        source, port = match[2].decode("ascii"), int(match[4])
        try:
            address = ipaddress.ip_address(source)
        except ValueError:
            raise BadProxyHeader("the address is malformed") from None
        if address.version != version or port > 65535:
            raise BadProxyHeader("the address is malformed")
        self.header = ProxyHeader(str(address), port)

    def _version_2(self) -> None:
        start = len(_V2_SIGNATURE)
        if len(self._data) == start:
            self.wanted = 4
            return
        length = int.from_bytes(self._data[start + 2 : start + 4], "big")
        if len(self._data) == start + 4:
            if self._data[start] not in (_LOCAL, _PROXY) or length > _V2_LONGEST:
                raise BadProxyHeader("unknown command or length")
            if length:
                self.wanted = length
                return
        self.header = self._address_2(self._data[start], self._data[start + 1], bytes(self._data[start + 4 :]))

    @staticmethod
    def _address_2(command: int, family: int, body: bytes) -> ProxyHeader:
        if command == _LOCAL:
            return ProxyHeader()
        if family == _TCP4 and len(body) >= 12:
            return ProxyHeader(str(ipaddress.IPv4Address(body[:4])), int.from_bytes(body[8:10], "big"))
        if family == _TCP6 and len(body) >= 36:
            return ProxyHeader(str(ipaddress.IPv6Address(body[:16])), int.from_bytes(body[32:34], "big"))
        raise BadProxyHeader("not a TCP connection, or the address is cut short")
