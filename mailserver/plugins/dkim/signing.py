"""The `before_send` hook: a signature by each key of the author's domain, or a message that waits."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from mailserver import api
from mailserver.plugins.dkim.keys import Key, KeyState, KeyStore, Unusable
from mailserver.plugins.dkim.settings import DkimSettings

__all__ = ["Signer"]

_CHUNK = 256 << 10
_LATER = api.Reply(451, "4.3.5", "This message cannot be signed at the moment; it waits until it can")


class Signer:
    """Signs what our own users and the server itself wrote, in the name of a domain that we serve and of no other."""

    def __init__(self, keys: KeyStore, host: api.Host, settings: DkimSettings) -> None:
        self._keys = keys
        self._directory = host.directory
        self._clock = host.clock
        self._valid = settings.valid

    def sign(self, ctx: api.BeforeSendContext) -> api.Verdict | Awaitable[api.Verdict] | None:
        """None: not ours to sign. A domain whose keys cannot be read sends nothing (ATTACKS G20).

        There is something to wait for only where keys or content have to be read: a task for each message costs more
        than it takes to prepare it.
        """
        # Mail of strangers that is only forwarded may claim to be from here; our signature would make that true.
        if ctx.envelope.account is None and not ctx.envelope.own:
            return None
        head = ctx.content.head()
        author = api.author_domain(head)
        domain = None if author is None else self._served(author, parents=ctx.envelope.own)
        if domain is None:
            return None
        try:
            keys = self._keys.known(domain)
        except Unusable as error:
            return _not_now(error)
        if keys and len(head) == ctx.content.size:
            body = api.DkimBodyHash()
            body.feed(head[api.header_block_end(head) :])
            return self._signed(head, body.digest(), domain, keys)
        return self._sign_later(ctx.content, head, domain)

    async def _sign_later(self, content: api.ReadableContent, head: bytes, domain: str) -> api.Verdict:
        try:
            keys = self._keys.known(domain) or await self._keys.load(domain)
        except Unusable as error:
            return _not_now(error)
        return self._signed(head, await _hash_body(content, api.header_block_end(head)), domain, keys)

    def _served(self, domain: str, *, parents: bool) -> str | None:
        """The served domain that `domain` is; or lies below, for reports that come from our host name."""
        try:
            name = api.normalize_domain(domain)
        except api.InvalidInput:
            return None
        while self._directory.domain(name) is None:
            name = name.partition(".")[2]
            if not parents or not name:
                return None
        return name

    def _signed(self, head: bytes, body_hash: bytes, domain: str, keys: Sequence[Key]) -> api.Verdict:
        signing = [key for key in keys if key.state is KeyState.SIGNING]
        if not signing:
            return _not_now(f"{domain} has no key that signs")
        signable = api.DkimSignable(head)
        now = int(self._clock.time())
        found = []
        for key in sorted(signing, key=lambda key: key.algorithm, reverse=True):  # some only look at the first: RSA
            value, octets = signable.unsigned(
                algorithm=f"{key.algorithm}-sha256", domain=domain, selector=key.selector, body_hash=body_hash, at=now,
                expires=now + int(self._valid),
            )  # fmt: skip
            found.append(api.HeaderField("DKIM-Signature", signable.complete(value, key.sign(octets))))
        return api.Accept(headers=tuple(found))


def _not_now(why: object) -> api.Verdict:
    return api.Defer(_LATER, reason=f"DKIM: {why}")


async def _hash_body(content: api.ReadableContent, start: int) -> bytes:
    body = api.DkimBodyHash()
    while start < content.size:
        piece = await content.read(start, _CHUNK)
        if not piece:
            raise api.StorageFailure("the message could not be read back")
        body.feed(piece)
        start += len(piece)
    return body.digest()
