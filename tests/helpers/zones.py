"""A resolver over zones as the RFC 7208 test suite writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mailserver.model.dns import Answer, MailExchanger
from mailserver.net.networks import parse_ip
from mailserver.ports.resolver import LookupFailed

__all__ = ["ZoneResolver"]


class ZoneResolver:
    """`zones`: name → entries, each {type: value} or "TIMEOUT". A record of type SPF stands for one of TXT, unless the
    name has TXT of its own ("NONE": it has none). `asked` has each question, in order."""

    def __init__(self, zones: Mapping[str, Sequence[Any]]) -> None:
        self.asked: list[tuple[str, str]] = []
        self._zones = {name.lower(): list(entries) for name, entries in zones.items()}

    def _find(self, name: str, kind: str, depth: int = 0) -> Answer[Any]:
        name = name.lower().removesuffix(".")
        entries = self._zones.get(name)
        if entries is None:
            if name.startswith("error."):
                raise LookupFailed("it was to fail")
            return Answer(records=(), name=name, exists=False)
        pairs = [(t, v) for entry in entries if entry != "TIMEOUT" for t, v in entry.items()]
        if kind == "TXT" and not any(t == "TXT" for t, _ in pairs):
            pairs = [("TXT" if t == "SPF" else t, v) for t, v in pairs]
        records = [v for t, v in pairs if t == kind and v != "NONE"]
        if "TIMEOUT" in records or (not records and "TIMEOUT" in entries):
            raise LookupFailed("nobody answers in time")
        aliases = [v for t, v in pairs if t == "CNAME"]
        if aliases and not records and depth < 8:
            return self._find(aliases[0], kind, depth + 1)
        return Answer(records=tuple(records), name=name)

    async def _ask(self, name: str, kind: str) -> Answer[Any]:
        self.asked.append((name, kind))
        return self._find(name, kind)

    async def txt(self, name: str) -> Answer[bytes]:
        answer = await self._ask(name, "TXT")
        texts = ["".join(value) if isinstance(value, list) else value for value in answer.records]
        return Answer(records=tuple(text.encode() for text in texts), name=answer.name, exists=answer.exists)

    async def mx(self, domain: str) -> Answer[MailExchanger]:
        answer = await self._ask(domain, "MX")
        records = tuple(MailExchanger(value[0], value[1].lower().removesuffix(".")) for value in answer.records)
        return Answer(records=records, name=answer.name, exists=answer.exists)

    async def ptr(self, address: str) -> Answer[str]:
        parsed = parse_ip(address)
        assert parsed is not None
        return await self._ask(parsed.reverse_pointer, "PTR")

    async def query(self, name: str, kind: str) -> Answer[str]:
        return await self._ask(name, kind)

    async def exists(self, name: str) -> bool:
        answer = await self._ask(name, "A")
        return answer.exists or answer.name != name.lower()

    async def addresses(self, host: str) -> Answer[str]:
        raise NotImplementedError

    async def tlsa(self, name: str) -> Answer[Any]:
        raise NotImplementedError
