"""Who stands behind a message: what is proved of it, and what is only claimed. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailserver import api

__all__ = [
    "ADDRESS", "CLAIM", "DOMAIN", "NETWORK", "SIGNER", "TO", "TO_DOMAIN", "Identities", "Key", "of", "stored_key",
]  # fmt: skip

#: Kinds of what is remembered: authors and domains that were proved, addresses that were not, domains that signed,
#: networks that mail came from; and whom the account wrote to.
ADDRESS, DOMAIN, CLAIM, SIGNER, NETWORK, TO, TO_DOMAIN = (
    "address", "domain", "claim", "signer", "network", "to", "to-domain",
)  # fmt: skip
Key = tuple[str, str]
_MOST_SIGNERS = 3
_NAMED = re.compile(rb" with [A-Z0-9]{4,12} id ([0-9a-z]{16})\b")


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


def stored_key(message: api.MessageView) -> bytes:
    """How a message in a mailbox is known again: by the name that it got here, which stands in the first Received, the
    one that is ours. What its author or anybody on its way wrote counts nothing: whoever knows that, such as others on
    a mailing list, could have his own message taken for it. b"" for one that never came in here."""
    match = _NAMED.search(message.value(b"received") or b"")
    return match[1] if match is not None else b""
