"""Asking other people's web servers, when it is their DNS that says where: policies, keys, reports.

The names are resolved by our own resolver, and each address is looked at right where the socket for it is made: what
was checked is what is connected to (ATTACKS G13). Nothing is followed, unpacked, remembered or taken from the
environment: no redirects, no content codings, no cookies, no proxies, no caches.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mailserver.net.addresses import refusal
from mailserver.ports.resolver import LookupFailed, Resolver
from mailserver.ports.web import WebAnswer, WebFailed

__all__ = ["HttpsClient", "whole_answer"]

#: Connections at one time; who comes later waits, within its own time.
MOST_CONNECTIONS = 64
_MOST_ADDRESSES = 8
_PIECE = 16 << 10
_HEADERS = {"User-Agent": "mailserver", "Accept-Encoding": "identity"}


class HttpsClient:
    """`ports.web.WebClient`. Nothing is made before the first question; leaving it closes all connections."""

    def __init__(self, resolver: Resolver, *, allow_private: bool = False) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, *, most: int, within: float, ca_file: str = "") -> WebAnswer:
        """See `ports.web.WebClient`."""
        return await self._asked("GET", url, None, _HEADERS, most, within, ca_file)

    async def post(
        self, url: str, body: bytes, media_type: str, *, most: int, within: float, ca_file: str = ""
    ) -> WebAnswer:
        """See `ports.web.WebClient`."""
        return await self._asked("POST", url, body, {**_HEADERS, "Content-Type": media_type}, most, within, ca_file)

    async def _asked(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], most: int, within: float,
        ca_file: str,
    ) -> WebAnswer:  # fmt: skip
        if not url.startswith("https://"):
            raise WebFailed("only https is asked")
        try:
            async with asyncio.timeout(within):
                return await self._answer(method, url, body, headers, most, self._context(ca_file))
        except TimeoutError:
            raise WebFailed(f"no complete answer within {within:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise WebFailed(f"its certificate is not good: {_about(error.certificate_error)}", untrusted=True) from None
        except aiohttp.ClientSSLError as error:
            raise WebFailed(f"the TLS handshake failed: {_about(error)}", untrusted=True) from None
        except aiohttp.ClientConnectorError as error:
            raise WebFailed(_about(error.os_error)) from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            # Names of types only: the rest is the words of the other side, or of our libraries.
            raise WebFailed(f"no answer that follows the rules of HTTP ({type(error).__name__})") from None

    async def _answer(
        self, method: str, url: str, octets: bytes | None, headers: Mapping[str, str], most: int,
        context: ssl.SSLContext,
    ) -> WebAnswer:  # fmt: skip
        async with self._opened().request(
            method, url, data=octets, ssl=context, allow_redirects=False, headers=headers
        ) as answer:
            coding = answer.headers.get("Content-Encoding", "identity")
            if coding.lower() != "identity":
                raise WebFailed("the answer has a content coding, which was not asked for")
            return await whole_answer(answer, most)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Names(self._resolver), socket_factory=self._socket, use_dns_cache=False, force_close=True,
                limit=MOST_CONNECTIONS,
            )  # fmt: skip
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )  # fmt: skip
        return self._session

    def _socket(self, where: Any) -> socket.socket:
        """For one address, or an error in words; what it returns is connected to that address."""
        family, kind, protocol, _, address = where
        if words := refusal(address[0], allow_private=self._allow_private):
            raise OSError(errno.EACCES, f"{address[0]} is {words}, which is not connected to")
        return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)

    def _context(self, ca_file: str) -> ssl.SSLContext:
        """Made once: reading the system's authorities takes tens of milliseconds."""
        found = self._contexts.get(ca_file)
        if found is None:
            try:
                found = ssl.create_default_context(cafile=ca_file or None)
            except OSError as error:
                raise WebFailed(f"the certificates of {ca_file} cannot be used: {_about(error)}") from None
            found.minimum_version = ssl.TLSVersion.TLSv1_2
            # RFC 9525 §6.3: only the names that are made for it.
            found.hostname_checks_common_name = False
            self._contexts[ca_file] = found
        return found


async def whole_answer(answer: aiohttp.ClientResponse, most: int) -> WebAnswer:
    """With its body, which has `most` octets at most. Raises WebFailed."""
    body = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > most:
            answer.close()
            raise WebFailed(f"the answer has more than {most} octets")
    return WebAnswer(status=answer.status, media_type=answer.content_type, body=bytes(body))


class _Names(AbstractResolver):
    """Our resolver, as aiohttp wants it."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            answer = await self._resolver.addresses(host)
        except LookupFailed as error:
            raise OSError(errno.EHOSTUNREACH, error.text) from None
        if not answer.records:
            raise OSError(errno.EHOSTUNREACH, f"{host} has no address" if answer.exists else f"{host} does not exist")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in answer.records[:_MOST_ADDRESSES]
        ]  # fmt: skip

    async def close(self) -> None:
        """It is the server's, and stays."""


def _about(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
