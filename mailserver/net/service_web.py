"""Asking a web server of the operator's own, over HTTP on a Unix socket or at an address that he named.

Unlike `net/web.py` it goes wherever the configuration says, this machine included; it follows nothing and remembers
nothing either, and bounds what it reads.
"""

from __future__ import annotations

from asyncio import timeout
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

import aiohttp

from mailserver.net.endpoint import Endpoint
from mailserver.net.web import whole_answer
from mailserver.ports.resolver import LookupFailed, Resolver
from mailserver.ports.store import ReadableContent
from mailserver.ports.web import WebAnswer, WebFailed

__all__ = ["ServiceWeb"]

_PIECE = 256 << 10


class ServiceWeb:
    """One server. Connections are kept for some seconds; leaving it closes them."""

    def __init__(self, endpoint: Endpoint, resolver: Resolver, *, most_at_once: int = 20) -> None:
        self._endpoint = endpoint
        self._resolver = resolver
        self._most = most_at_once
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(
        self, path: str, content: ReadableContent, headers: Sequence[tuple[str, str]], *, most: int, within: float
    ) -> WebAnswer:
        """Give it a message.

        Args:
            path: "/checkv2".
            content: the body, read as it is sent.
            headers: names may stand several times; control characters in values are left out.
            most: octets of the answer's body.
            within: seconds for all of it.

        Raises:
            WebFailed.
        """
        try:
            async with timeout(within):
                return await self._post(path, content, headers, most)
        except TimeoutError:
            raise WebFailed(f"no complete answer within {within:g} s") from None
        except LookupFailed as error:
            raise WebFailed(error.text) from None
        except aiohttp.ClientConnectorError as error:
            raise WebFailed(error.os_error.strerror or "no connection") from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            # Names of types only: the rest is the words of the other side, or of our libraries.
            raise WebFailed(f"no answer that follows the rules of HTTP ({type(error).__name__})") from None

    async def _post(
        self, path: str, content: ReadableContent, headers: Sequence[tuple[str, str]], most: int
    ) -> WebAnswer:
        host = "localhost"
        if not self._endpoint.path:
            addresses = await self._endpoint.addresses(self._resolver)
            if not addresses:
                raise WebFailed(f"{self._endpoint.host} has no address")
            literal = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
            host = f"{literal}:{self._endpoint.port}"
        sent = [(name, "".join(c for c in value if c.isprintable())) for name, value in headers]
        sent += [("Content-Length", str(content.size)), ("Content-Type", "message/rfc822")]
        async with self._opened().post(
            f"http://{host}{path}", data=_pieces(content), headers=sent, allow_redirects=False
        ) as answer:
            return await whole_answer(answer, most)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self._endpoint.path:
                connector = aiohttp.UnixConnector(self._endpoint.path, limit=self._most)
            else:
                connector = aiohttp.TCPConnector(use_dns_cache=False, limit=self._most)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None), headers={"User-Agent": "mailserver"},
            )  # fmt: skip
        return self._session


async def _pieces(content: ReadableContent) -> AsyncIterator[bytes]:
    position = 0
    while piece := await content.read(position, _PIECE):
        position += len(piece)
        yield piece
