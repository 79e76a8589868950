"""`check_host` of RFC 7208 §4, straight through, waiting for one name at a time; bounded as §4.6.4 says."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from mailserver import api

__all__ = ["Outcome", "SpfCheck"]

_MAX_LOOKUPS = 10
_MAX_VOID = 2
_MAX_MX = _MAX_PTR = 10
_MAX_SECONDS = 20.0
_MAX_EXPLANATION = 400
#: With the last dot.
_MAX_NAME = 254


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` as §2.6 names it. `mechanism` is the name of the one that matched, "default" when none did; `problem` is
    what went wrong, in words. `exp` is the explanation that the domain `current` offers for a fail."""

    result: str
    mechanism: str = ""
    problem: str = ""
    exp: api.SpfMacroString | None = None
    current: str = ""


class _Stop(Exception):
    """The whole evaluation ends with this result."""

    def __init__(self, result: str, problem: str) -> None:
        super().__init__(problem)
        self.outcome = Outcome(result, problem=problem)


class SpfCheck:
    """One identity of one message. `sender` is an address; for HELO it is postmaster@ that name (§2.4).

    `receiver` and `now` (epoch seconds) are what explanations may name.
    """

    def __init__(
        self, resolver: api.Resolver, peer: str, helo: str, sender: str, receiver: str = "unknown", now: float = 0.0
    ) -> None:
        ip = api.parse_ip(peer)
        if ip is None:
            raise ValueError("the peer has no IP address")
        self._resolver = resolver
        self._ip = ip
        local, _, domain = sender.rpartition("@")
        self._domain = domain
        #: §7.2; `d` and `p` depend on the moment.
        self._values = {
            "s": f"{local or 'postmaster'}@{domain}", "l": local or "postmaster", "o": domain, "h": helo,
            "i": str(ip) if ip.version == 4 else ".".join(ip.exploded.replace(":", "").upper()),
            "v": "in-addr" if ip.version == 4 else "ip6", "c": str(ip), "r": receiver, "t": str(int(now)),
        }  # fmt: skip
        self._kind = "A" if ip.version == 4 else "AAAA"
        self._lookups = 0
        self._void = 0
        self._names: list[str] | None = None

    async def run(self) -> Outcome:
        """The result; never raises."""
        try:
            async with asyncio.timeout(_MAX_SECONDS):
                return await self._check_host(self._domain)
        except _Stop as stop:
            return stop.outcome
        except TimeoutError:
            return Outcome("temperror", problem="the lookups took too long")

    async def explain(self, outcome: Outcome) -> str:
        """What the domain says about a fail (§6.2); "" if it says nothing that can be shown."""
        if outcome.exp is None:
            return ""
        try:
            async with asyncio.timeout(_MAX_SECONDS):
                name = await self._target(outcome.exp, outcome.current)
                if name is None:
                    return ""
                answer = await self._resolver.txt(name)
                if len(answer.records) != 1:
                    return ""
                text = api.parse_spf_explanation(answer.records[0])
                return text.expand(await self._with_names(text, outcome.current))[:_MAX_EXPLANATION]
        except (_Stop, TimeoutError, api.BadSpf, api.LookupFailed):
            return ""

    async def _check_host(self, domain: str) -> Outcome:
        """§4.3 to §4.7. Raises _Stop for errors."""
        name = api.spf_target_name(domain) if len(domain) <= _MAX_NAME else None
        if name is None or "." not in name or name.startswith("["):
            return Outcome("none")
        try:
            answer = await self._resolver.txt(name)
        except api.LookupFailed as error:
            raise _Stop("temperror", error.text) from None
        records = [record for record in answer.records if api.is_spf(record)]
        if not records:
            return Outcome("none")
        if len(records) > 1:
            raise _Stop("permerror", f"{name} has more than one SPF record")
        try:
            record = api.parse_spf(records[0])
        except api.BadSpf as error:
            raise _Stop("permerror", f"the SPF record of {name}: {error}") from None
        for directive in record.directives:
            if await self._matches(directive, name):
                exp = record.explanation if directive.result == "fail" else None
                return Outcome(directive.result, directive.name, exp=exp, current=name)
        if record.redirect is None:
            return Outcome("neutral", "default")
        return await self._redirected(record.redirect, name)

    async def _redirected(self, spec: api.SpfMacroString, current: str) -> Outcome:
        """§6.1."""
        self._count()
        name = await self._target(spec, current)
        outcome = Outcome("none") if name is None else await self._check_host(name)
        if outcome.result == "none":
            raise _Stop("permerror", f"{current} redirects to a domain without an SPF record")
        return outcome

    async def _matches(self, directive: api.SpfDirective, current: str) -> bool:
        """§5."""
        if directive.name == "all":
            return True
        if directive.network is not None:
            return self._ip.version == directive.network.version and self._ip in directive.network
        self._count()
        name: str | None = current
        if directive.domain is not None:
            name = await self._target(directive.domain, current)
        if directive.name == "include":
            return await self._included(name, current)
        if name is None:
            return False
        if directive.name == "a":
            found = await self._addresses(name, self._kind)
            self._note_void(found)
            return self._among(found, directive)
        if directive.name == "mx":
            return await self._is_exchanger(name, directive)
        if directive.name == "ptr":
            return any(_is_within(host, name) for host in await self._validated())
        found = await self._addresses(name, "A")
        self._note_void(found)
        return bool(found)

    async def _included(self, name: str | None, current: str) -> bool:
        """§5.2."""
        result = "none" if name is None else (await self._check_host(name)).result
        if result == "none":
            raise _Stop("permerror", f"{current} includes a domain without an SPF record")
        return result == "pass"

    async def _is_exchanger(self, name: str, directive: api.SpfDirective) -> bool:
        """§5.4. That some hosts have no address of the client's family says nothing; when none has, it is a void."""
        try:
            hosts = [mx.host for mx in (await self._resolver.mx(name)).records if mx.host]
        except api.LookupFailed as error:
            raise _Stop("temperror", error.text) from None
        if len(hosts) > _MAX_MX:
            raise _Stop("permerror", f"{name} has more than {_MAX_MX} MX records")
        any_address = False
        for host in hosts:
            found = await self._addresses(host, self._kind)
            if self._among(found, directive):
                return True
            any_address = any_address or bool(found)
        self._note_void(any_address)
        return False

    async def _validated(self) -> list[str]:
        """§5.5: names of the client that lead back to it. Errors of these names, which are the client's, are not
        the domain's."""
        if self._names is None:
            self._names = []
            try:
                hosts = (await self._resolver.ptr(str(self._ip))).records[:_MAX_PTR]
            except api.LookupFailed:
                return []
            for host in hosts:
                try:
                    found = (await self._resolver.query(host, self._kind)).records
                except api.LookupFailed:
                    continue
                if any(_parsed(text) == self._ip for text in found):
                    self._names.append(host.lower().removesuffix("."))
        return self._names

    async def _target(self, spec: api.SpfMacroString, current: str) -> str | None:
        """§4.8."""
        return api.spf_target_name(spec.expand(await self._with_names(spec, current)))

    async def _with_names(self, spec: api.SpfMacroString, current: str) -> Mapping[str, str]:
        values = {**self._values, "d": current}
        if "p" in spec.letters:
            names = await self._validated()
            # §7.3: the domain itself, else one of its subdomains, else any.
            ranked = sorted(names, key=lambda name: (name != current, not _is_within(name, current)))
            values["p"] = ranked[0] if ranked else "unknown"
        return values

    async def _addresses(self, name: str, kind: str) -> tuple[str, ...]:
        try:
            return (await self._resolver.query(name, kind)).records
        except api.LookupFailed as error:
            raise _Stop("temperror", error.text) from None

    def _among(self, addresses: tuple[str, ...], directive: api.SpfDirective) -> bool:
        prefix = directive.prefix4 if self._ip.version == 4 else directive.prefix6
        shift = self._ip.max_prefixlen - prefix
        wanted = int(self._ip) >> shift
        return any(
            ip is not None and ip.version == self._ip.version and int(ip) >> shift == wanted
            for ip in map(_parsed, addresses)
        )

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > _MAX_LOOKUPS:
            raise _Stop("permerror", f"its SPF record needs more than {_MAX_LOOKUPS} lookups")

    def _note_void(self, found: object) -> None:
        if not found:
            self._void += 1
            if self._void > _MAX_VOID:
                raise _Stop("permerror", f"more than {_MAX_VOID} names in its SPF record lead nowhere")


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address of a record, as it is: of IPv6 even when it has an IPv4 one in it."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")
