"""A resolver for tests of whatever asks DNS: `ports.resolver.Resolver` over a table."""

from __future__ import annotations

from typing import Any

from mailserver.model.dns import Answer, MailExchanger, Tlsa
from mailserver.ports.resolver import LookupFailed

__all__ = ["FakeResolver"]


class FakeResolver:
    """Says what it was told; every other name does not exist. `asked` has each question, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self._known: dict[tuple[str, str], Answer[Any] | LookupFailed] = {}

    def has(self, kind: str, name: str, *records: Any, authentic: bool = False, leads_to: str = "") -> None:
        """`kind` is the name of a method: mx, addresses, tlsa, txt, ptr."""
        self._known[kind, name] = Answer(
            records=records, name=leads_to or name, authentic=authentic, secure_owner=authentic
        )

    def has_mx(self, domain: str, *hosts: tuple[int, str], authentic: bool = False) -> None:
        self.has("mx", domain, *(MailExchanger(*host) for host in hosts), authentic=authentic)

    def fails(self, kind: str, name: str, text: str = "nobody answers", *, bogus: bool = False) -> None:
        self._known[kind, name] = LookupFailed(text, bogus=bogus)

    def _say(self, kind: str, name: str) -> Answer[Any]:
        name = name.lower().removesuffix(".").encode("idna").decode()
        self.asked.append((kind, name))
        known = self._known.get((kind, name))
        if isinstance(known, LookupFailed):
            raise LookupFailed(known.text, detail=known.detail, bogus=known.bogus)
        if known is None:
            return Answer(records=(), name=name, exists=any(other == name for _, other in self._known))
        return known

    async def mx(self, domain: str) -> Answer[MailExchanger]:
        return self._say("mx", domain)

    async def addresses(self, host: str) -> Answer[str]:
        return self._say("addresses", host)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return self._say("tlsa", name)

    async def txt(self, name: str) -> Answer[bytes]:
        return self._say("txt", name)

    async def ptr(self, address: str) -> Answer[str]:
        return self._say("ptr", address)

    async def query(self, name: str, kind: str) -> Answer[str]:
        return self._say(kind, name)

    async def exists(self, name: str) -> bool:
        return self._say("A", name).exists
