"""What checking signatures of a message needs from outside: their keys, and digests of its body."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from mailserver.mime.dkim.canonical import BodyDigests
from mailserver.mime.dkim.verifying import KeyRecords
from mailserver.mime.view import MessageView
from mailserver.model.errors import StorageFailure
from mailserver.net.workers import Workers
from mailserver.ports.resolver import LookupFailed, Resolver
from mailserver.ports.store import ReadableContent

__all__ = ["SignedHeader", "check_signed_header", "digest_body"]

#: Octets up to which reading a message takes less time than handing it to a thread would.
_LARGE = 64 << 10
_PIECE = 256 << 10
_SECONDS = 8.0


class SignedHeader(Protocol):
    """What has signatures: DKIM's, or the chain of ARC."""

    @property
    def key_names(self) -> frozenset[str]:
        """The names whose TXT records are needed."""
        ...

    def check(self, records: KeyRecords) -> BodyDigests:
        """Compare the header with what was signed."""
        ...


async def check_signed_header(
    signed: SignedHeader, resolver: Resolver, workers: Workers, header_size: int
) -> BodyDigests:
    """Get the keys and check the header; what the body is then to be fed to. Large headers are checked in a thread."""
    names = signed.key_names
    records = await _fetch_all(resolver, names) if names else {}
    if header_size > _LARGE:
        return await workers.run(signed.check, records)
    return signed.check(records)


async def _fetch_all(resolver: Resolver, names: Collection[str]) -> dict[str, tuple[bytes, ...] | None]:
    """The TXT records of each name, asked for at the same time; None for what nobody could tell within 8 seconds."""
    if len(names) == 1:
        (name,) = names
        return {name: await _fetch(resolver, name)}
    return dict(zip(names, await asyncio.gather(*(_fetch(resolver, name) for name in names)), strict=True))


async def _fetch(resolver: Resolver, name: str) -> tuple[bytes, ...] | None:
    try:
        async with asyncio.timeout(_SECONDS):
            return (await resolver.txt(name)).records
    except (LookupFailed, TimeoutError):
        return None


async def digest_body(
    content: ReadableContent, message: MessageView, digests: BodyDigests, workers: Workers
) -> None:
    """Read the body of a message into `digests`, and end them; what another check made of it is taken from `message`,
    which shows the content. The work on large ones is done in threads.

    Raises:
        StorageFailure: the message could not be read.
    """
    if not digests.know(message.body_digests):
        return
    start, small = message.header_size, content.size <= _LARGE
    while start < content.size:
        piece = await content.read(start, _PIECE)
        if not piece:
            raise StorageFailure("the message could not be read back")
        start += len(piece)
        if small:
            digests.feed(piece)
        else:
            await workers.run(digests.feed, piece)
    digests.end()
    message.body_digests.update(digests.found)
