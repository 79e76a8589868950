"""The `before_send` hook: a signature by each key of the author's domain, or a message that waits."""

from __future__ import annotations

from collections.abc import Sequence

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

    async def sign(self, ctx: api.BeforeSendContext) -> api.Verdict | None:
        """None: not ours to sign. A domain whose keys cannot be read sends nothing (ATTACKS G20)."""
        # Mail of strangers that is only forwarded may claim to be from here; our signature would make that true.
        if ctx.envelope.account is None and not ctx.envelope.own:
            return None
        head = ctx.content.head()
        author = api.author_domain(head)
        domain = None if author is None else self._served(author, parents=ctx.envelope.own)
        if domain is None:
            return None
        try:
            keys = self._keys.known(domain) or await self._keys.load(domain)
        except Unusable as error:
            return api.Defer(_LATER, reason=f"DKIM: {error}")
        signing = [key for key in keys if key.state is KeyState.SIGNING]
        if not signing:
            return api.Defer(_LATER, reason=f"DKIM: {domain} has no key that signs")
        body_hash = await _hash_body(ctx.content, api.header_block_end(head))
        return api.Accept(headers=self._signatures(head, body_hash, domain, signing))

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

    def _signatures(
        self, head: bytes, body_hash: bytes, domain: str, keys: Sequence[Key]
    ) -> tuple[api.HeaderField, ...]:
        signable = api.DkimSignable(head)
        now = int(self._clock.time())
        found = []
        for key in sorted(keys, key=lambda key: key.algorithm, reverse=True):  # some only look at the first: RSA
            value, octets = signable.unsigned(
                algorithm=f"{key.algorithm}-sha256", domain=domain, selector=key.selector, body_hash=body_hash, at=now,
                expires=now + int(self._valid),
            )  # fmt: skip
            found.append(api.HeaderField("DKIM-Signature", signable.complete(value, key.sign(octets))))
        return tuple(found)


async def _hash_body(content: api.ReadableContent, start: int) -> bytes:
    body = api.DkimBodyHash()
    while start < content.size:
        piece = await content.read(start, _CHUNK)
        if not piece:
            raise api.StorageFailure("the message could not be read back")
        body.feed(piece)
        start += len(piece)
    return body.digest()
