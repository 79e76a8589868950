"""Who stands behind a message: what is proved of it, and what is only claimed. No I/O."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mailserver import api

__all__ = [
    "ADDRESS", "CLAIM", "DOMAIN", "NETWORK", "SIGNER", "TO", "TO_DOMAIN", "Identities", "Key", "message_key", "of",
]  # fmt: skip

#: Kinds of what is remembered: authors and domains that were proved, addresses that were not, domains that signed,
#: networks that mail came from; and whom the account wrote to.
ADDRESS, DOMAIN, CLAIM, SIGNER, NETWORK, TO, TO_DOMAIN = (
    "address", "domain", "claim", "signer", "network", "to", "to-domain",
)  # fmt: skip
Key = tuple[str, str]
_MOST_SIGNERS = 3
_TOLD = frozenset((b"from", b"to", b"subject", b"date", b"message-id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """`author` is the key of the only address in From, and `domain` its domain; "" when there is no such one. `proof`
    is the method that proves the domain, "" when none does; `listed`: it calls itself mail of a list, and lists break
    proofs."""

    author: str
    domain: str
    proof: str
    signers: tuple[str, ...]
    network: str
    listed: bool = False

    @property
    def keys(self) -> list[Key]:
        """All that the message adds to what is known."""
        found: list[Key] = []
        if self.author and self.proof:
            found += [(ADDRESS, self.author), (DOMAIN, self.domain)]
        elif self.author:
            found.append((CLAIM, self.author))
        found += [(SIGNER, signer) for signer in self.signers]
        return [*found, (NETWORK, self.network)] if self.network else found


def of(ctx: api.DeliveryContext) -> Identities:
    """Those of a message."""
    addresses = [author.address for author in ctx.message.authors]
    author = addresses[0] if len(addresses) == 1 else None
    domain = author.domain if author is not None else ""
    proof = ctx.findings.proves(domain) if domain else ""
    if proof and ctx.message.sole_author.domain != domain:
        # Other programs may show another author.
        proof = ""
    passed = (result.value("header.d").lower() for result in ctx.findings.of("dkim") if result.result == "pass")
    signers = [signer for signer in dict.fromkeys(passed) if signer and signer != domain]
    networks = api.network_keys(ctx.session.peer)
    return Identities(
        author=author.key if author is not None else "", domain=domain, proof=proof,
        signers=tuple(signers[:_MOST_SIGNERS]), network=networks[1] if len(networks) > 1 else "",
        listed=not proof and ctx.message.value(b"list-id") is not None,
    )  # fmt: skip


def message_key(message: api.MessageView) -> bytes:
    """How a message in a mailbox is known again: by what its author wrote above it."""
    told = hashlib.blake2b(digest_size=16)
    for name, start, end in message.fields:
        if name in _TOLD:
            told.update(message.head[start:end].rstrip(b"\r\n"))
    return told.digest()
