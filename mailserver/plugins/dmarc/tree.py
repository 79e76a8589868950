"""The walk up the tree of names (RFC 9989 §4.10), for the domains of one message; no name is asked for twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailserver import api

__all__ = ["Policy", "Tree"]

_MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to an author domain: the record, the domain that has it, and the policy that it says for that
    author, before it is lessened for testing."""

    domain: str
    record: api.DmarcRecord
    published: api.DmarcRequest

    @property
    def wanted(self) -> api.DmarcRequest:
        """What the domain wants to be done when nothing proves the author."""
        return self.record.wanted(self.published)


class Tree:
    """Methods raise LookupFailed: what is not known is neither there nor not there."""

    def __init__(self, resolver: api.Resolver) -> None:
        self._resolver = resolver
        self._records: dict[str, api.DmarcRecord | None] = {}
        self._walks: dict[str, list[tuple[str, api.DmarcRecord]]] = {}

    async def policy(self, author: str) -> Policy | None:
        """§4.10.1: that of the author domain itself, of its organizational domain, or of its public suffix. It is the
        one for an author that exists, until `settled`."""
        own = await self._record(author)
        if own is not None:
            return Policy(author, own, own.p)
        found = await self._walk(author)
        if not found:
            return None
        organizational = api.organizational_domain(author, found)
        # Without a record of its own it has that of the public suffix right above it, where the walk stopped.
        at, record = next((pair for pair in found if pair[0] == organizational), found[-1])
        return Policy(at, record, record.published(below=True, exists=True))

    async def settled(self, policy: Policy, author: str) -> Policy:
        """With what is published for authors that do not exist, if this one does not."""
        otherwise = policy.record.published(below=policy.domain != author, exists=False)
        # §3.2.13.
        if otherwise == policy.published or await self._resolver.exists(author):
            return policy
        return replace(policy, published=otherwise)

    async def organizational(self, domain: str) -> str:
        """§4.10.2."""
        return api.organizational_domain(domain, await self._walk(domain))

    async def _walk(self, domain: str) -> list[tuple[str, api.DmarcRecord]]:
        if domain not in self._walks:
            found = []
            for target in api.walk_targets(domain):
                record = await self._record(target)
                if record is not None:
                    found.append((target, record))
                    if record.psd != "u":
                        break
            self._walks[domain] = found
        return self._walks[domain]

    async def _record(self, domain: str) -> api.DmarcRecord | None:
        if domain not in self._records:
            name = f"_dmarc.{domain}"
            texts = (await self._resolver.txt(name)).records if len(name) <= _MAX_NAME else ()
            self._records[domain] = api.find_dmarc(texts)
        return self._records[domain]
