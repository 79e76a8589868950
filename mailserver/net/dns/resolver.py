"""`ports.resolver.Resolver` over real name servers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NamedTuple

import idna
import structlog

from mailserver.model.dns import Answer, MailExchanger, Tlsa
from mailserver.model.errors import InvalidInput
from mailserver.net.addresses import interleave
from mailserver.net.dns.asking import NOERROR, NXDOMAIN, SERVFAIL, Asker, NoReply, Reply, rcode_name
from mailserver.net.dns.cache import TtlCache
from mailserver.net.dns.following import Found, follow
from mailserver.net.dns.servers import Servers
from mailserver.net.networks import parse_ip
from mailserver.net.routes import Routes
from mailserver.ports.clock import Clock
from mailserver.ports.resolver import LookupFailed
from mailserver.wire.dns.denial import denied
from mailserver.wire.dns.message import Message, Question
from mailserver.wire.dns.records import AAAA, CNAME, MX, PTR, TLSA, TXT, A, kind_name, kind_number

__all__ = ["DnsResolver"]

_log = structlog.get_logger()

#: Octets of replies (and what keeping them costs) that are remembered.
CACHE = 16 * 1024 * 1024
#: Seconds for which records, their absence (RFC 2308 §5) and failures are kept at most. A failure is kept for a moment
#: only, so that a thousand messages for one broken domain ask once (RFC 2308 §7 allows five minutes).
MAX_TTL, MAX_NEGATIVE_TTL, FAILURE_TTL = 86_400, 10_800, 10
#: RFC 8914 §4: codes with which a server says that the answer did not pass DNSSEC's examination.
_BOGUS = frozenset(range(6, 13))
_MAX_NAME = 1024


class _Key(NamedTuple):
    """A question. `proofs`: is the name there? Then also the proofs of DNSSEC are asked for."""

    name: str
    kind: int
    as_text: bool = False
    proofs: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """A LookupFailed, to be raised anew for everybody who asks."""

    text: str
    detail: str
    bogus: bool


_Outcome = Answer[Any] | _Failure


@dataclass(slots=True)
class Counters:
    """What the resolver did since it started."""

    questions: int = 0
    remembered: int = 0
    failed: int = 0


class DnsResolver:
    """Answers are kept for their TTL, and equal questions under way are asked once (RFC 5452 §5)."""

    def __init__(
        self, servers: Servers, clock: Clock, *, asker: Asker | None = None, routes: Routes | None = None,
        cache: int = CACHE,
    ) -> None:  # fmt: skip
        self.servers = servers
        self.counters = Counters()
        self._asker = asker or Asker()
        self._routes = routes or Routes(clock)
        self._cache: TtlCache[_Key, _Outcome] = TtlCache(clock, cache)
        self._changed = servers.changed
        self._asking: dict[_Key, asyncio.Task[_Outcome]] = {}

    async def close(self) -> None:
        """Give up what is being asked."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def mx(self, domain: str) -> Answer[MailExchanger]:
        """See the port."""
        return await self._ask(domain, MX)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """See the port."""
        return await self._ask(name, TLSA)

    async def txt(self, name: str) -> Answer[bytes]:
        """See the port."""
        return await self._ask(name, TXT)

    async def ptr(self, address: str) -> Answer[str]:
        """See the port."""
        parsed = parse_ip(address)
        if parsed is None:
            raise InvalidInput(f"{address!r} is not an IP address")
        return await self._ask(parsed.reverse_pointer, PTR)

    async def query(self, name: str, kind: str) -> Answer[str]:
        """See the port."""
        number = kind_number(kind)
        if number is None:
            raise InvalidInput(f"{kind!r} is not a type of DNS records")
        return await self._ask(name, number, as_text=True)

    async def exists(self, name: str) -> bool:
        """See the port."""
        answer = await self._ask(name, A, proofs=True)
        return answer.exists or _ascii(name) not in (None, answer.name)

    async def addresses(self, host: str) -> Answer[str]:
        """See the port. IPv6 is asked for only where there is a way to it, or where there is no IPv4."""
        if self._routes.ipv6():
            known = [self._remembered(host, kind) for kind in (AAAA, A)]
            answers = [answer for answer in known if answer is not None]
            if len(answers) < len(known):
                answers = [*await asyncio.gather(self._outcome(host, AAAA), self._outcome(host, A))]
        else:
            answers = [four := await self._outcome(host, A)]
            if not isinstance(four, _Failure) and four.exists and not four.records:
                answers.append(await self._outcome(host, AAAA))
        good = [answer for answer in answers if not isinstance(answer, _Failure)]
        failed = [answer for answer in answers if isinstance(answer, _Failure)]
        records = interleave(address for answer in good for address in answer.records)
        if failed and not records:
            # What the other type says does not matter: there may be addresses.
            raise LookupFailed(failed[0].text, detail=failed[0].detail, bogus=any(each.bogus for each in failed))
        first = next((answer for answer in good if answer.records), good[0])
        authentic = all(answer.authentic for answer in good)
        return Answer(
            records=tuple(records),
            name=first.name,
            exists=any(answer.exists for answer in good),
            authentic=authentic,
            secure_owner=authentic or await self._is_secure_alias(host, first),
        )

    async def _is_secure_alias(self, host: str, answer: Answer[str]) -> bool:
        """RFC 7672 §2.1.3: whether a CNAME itself is secure is only seen when it is asked for alone."""
        if answer.name == _ascii(host) or not any(server.trusted for server in self.servers.current()):
            return False
        outcome = await self._outcome(host, CNAME)
        return not isinstance(outcome, _Failure) and bool(outcome.records) and outcome.authentic

    async def _ask(self, name: str, kind: int, *, as_text: bool = False, proofs: bool = False) -> Answer[Any]:
        outcome = await self._outcome(name, kind, as_text=as_text, proofs=proofs)
        if isinstance(outcome, _Failure):
            raise LookupFailed(outcome.text, detail=outcome.detail, bogus=outcome.bogus)
        return outcome

    def _remembered(self, name: str, kind: int, *, as_text: bool = False, proofs: bool = False) -> _Outcome | None:
        """What is known without asking."""
        asked = _ascii(name)
        if asked is None:
            return Answer(records=(), name=name, exists=False)
        self.servers.current()
        if self.servers.changed != self._changed:
            # Whom we believed may not be believed any more.
            self._changed = self.servers.changed
            self._cache.clear()
        known = self._cache.get(_Key(asked, kind, as_text, proofs))
        if known is not None:
            self.counters.remembered += 1
            return known
        return _special(asked, kind)

    async def _outcome(self, name: str, kind: int, *, as_text: bool = False, proofs: bool = False) -> _Outcome:
        known = self._remembered(name, kind, as_text=as_text, proofs=proofs)
        if known is not None:
            return known
        key = _Key(_ascii(name) or "", kind, as_text, proofs)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._look_up(key), name=f"dns {key.name}")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Others may wait for it too: it goes on when one of them has no more time.
        return await asyncio.shield(task)

    async def _look_up(self, key: _Key) -> _Outcome:
        asked, kind, as_text, _ = key
        if Question.of(asked, kind) is None:
            return Answer(records=(), name=asked, exists=False)
        name, aliases, ttl, octets = asked, 0, MAX_TTL, 0
        authentic = secure_owner = True
        while True:
            reply = await self._reply(name, key)
            if isinstance(reply, _Failure):
                return self._failed(key, reply)
            found = follow(reply.message, name, kind, aliases=aliases, as_text=as_text)
            authentic = authentic and reply.authentic
            if not aliases:
                secure_owner = reply.authentic
            ttl, octets = min(ttl, _bounded(found)), octets + len(reply.message.data)
            if found.fault:
                return self._failed(key, _failure(asked, kind, found.fault, str(reply.server)))
            name, aliases = found.name, found.aliases
            if not found.unfinished:
                break
        answer: Answer[Any] = Answer(
            records=found.records,
            name=name,
            exists=bool(found.records) or not (reply.message.rcode == NXDOMAIN or denied(reply.message, name)),
            authentic=authentic,
            secure_owner=secure_owner,
        )
        self._cache.put(key, answer, ttl, octets)
        return answer

    async def _reply(self, name: str, key: _Key) -> Reply | _Failure:
        asked, kind, _, proofs = key
        question = Question.of(name, kind, proofs=proofs)
        if question is None:
            return _failure(asked, kind, f"its CNAME leads to {name}, which cannot be asked for")
        self.counters.questions += 1
        try:
            reply = await self._asker.ask(self.servers.current(), question)
        except NoReply as error:
            return _failure(asked, kind, f"no name server gives an answer ({error.reason})", str(error))
        message = reply.message
        if message.rcode in (NOERROR, NXDOMAIN):
            return reply
        told = "; ".join(f"{words} (EDE {code})" if words else f"EDE {code}" for code, words in message.explanations)
        detail = f"{reply.server}: {told}" if told else str(reply.server)
        if message.rcode == SERVFAIL and await self._is_bogus(message, question):
            return _failure(asked, kind, "DNSSEC validation fails", detail, bogus=True)
        return _failure(asked, kind, f"the name server says {rcode_name(message.rcode)}", detail)

    async def _is_bogus(self, failure: Message, question: Question) -> bool:
        """RFC 4035 §3.2.2: without checking there is an answer; or the server says itself what is wrong."""
        if failure.explanations:
            return any(code in _BOGUS for code, _ in failure.explanations)
        try:
            unchecked = await self._asker.ask(self.servers.current(), question, checking_disabled=True, rounds=1)
        except NoReply:
            return False
        return unchecked.message.rcode in (NOERROR, NXDOMAIN)

    def _failed(self, key: _Key, failure: _Failure) -> _Failure:
        self.counters.failed += 1
        _log.info("dns failed", reason=failure.text, detail=failure.detail, bogus=failure.bogus)
        self._cache.put(key, failure, FAILURE_TTL, 0)
        return failure


def _failure(name: str, kind: int, words: str, detail: str = "", *, bogus: bool = False) -> _Failure:
    return _Failure(f"DNS lookup of {name} ({kind_name(kind)}): {words}", detail, bogus)


def _bounded(found: Found) -> int:
    return min(found.ttl, MAX_TTL if found.records else MAX_NEGATIVE_TTL)


def _ascii(name: str) -> str | None:
    """A-labels in lower case without the last dot. None: no such name can be."""
    if name.isascii():
        return name.lower().removesuffix(".")
    if len(name) > _MAX_NAME:
        return None
    try:
        return ".".join(
            label.lower() if label.isascii() else idna.encode(label, uts46=True).decode("ascii")
            for label in idna.uts46_remap(name).removesuffix(".").split(".")
        )
    except (idna.IDNAError, UnicodeError):
        return None


def _special(name: str, kind: int) -> Answer[Any] | None:
    """RFC 6761 §6.3, §6.4, RFC 7686 §2: names that no server is asked about."""
    if name == "localhost" or name.endswith(".localhost"):
        records = {A: ("127.0.0.1",), AAAA: ("::1",)}.get(kind, ())
        return Answer(records=records, name=name)
    if name.rpartition(".")[2] in ("invalid", "onion"):
        return Answer(records=(), name=name, exists=False)
    return None

