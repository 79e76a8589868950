"""Counts what became of TLS, by UTC day, domain and policy (RFC 8460 §4). Mail never waits for it.

Events are added up in memory and written every few seconds; a crash loses the last ones, and nothing else. Connections
for mail that the server wrote itself do not count: a report must not cause the next (ATTACKS F08).
"""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta

import structlog

from mailserver import api
from mailserver.plugins.tlsrpt import database
from mailserver.plugins.tlsrpt.database import MOST_POLICIES, Failure, PolicyKey

__all__ = ["Collector", "clean"]

_log = structlog.get_logger()
#: Seconds between an event and its row.
_PAUSE = 5.0
#: Kinds of counts in memory: a few MB.
_MOST_KEYS = 10_000
_MOST_KINDS = 100
_LONGEST = 300
_TYPES = {"sts": "sts", "dane": "tlsa"}


class Collector:
    """`observe` is an event sink. `spread`: seconds after midnight within which reports are sent."""

    def __init__(self, db: api.DatabaseThread, clock: api.Clock, hostname: str, spread: float) -> None:
        self._db = db
        self._clock = clock
        self._hostname = hostname
        self._spread = spread
        self._good: dict[PolicyKey, int] = {}
        self._bad: dict[PolicyKey, dict[Failure, int]] = {}
        self._batches = api.Batches(self._write, lambda: bool(self._good), pause=_PAUSE, name="tlsrpt")
        #: Sessions that are in no report.
        self.lost = 0

    def observe(self, event: api.Event) -> None:
        """One event; only those of TLS count."""
        if not isinstance(event, api.TlsAttempted) or event.own:
            return
        domain = api.public_domain(event.domain)
        if not domain:
            return
        key = self._key(event, domain)
        if key not in self._good and len(self._good) >= _MOST_KEYS:
            self._lose(1, "too many domains at once")
            return
        good, bad = self._good.setdefault(key, 0), self._bad.setdefault(key, {})
        if not event.failure:
            self._good[key] = good + 1
        else:
            source, detail = _public(event.source), clean(event.detail)
            failure = Failure(event.failure, source, clean(event.host), event.address, detail)
            if failure not in bad and len(bad) >= _MOST_KINDS:
                failure = Failure(event.failure)
            bad[failure] = bad.get(failure, 0) + 1
        self._batches.soon()

    def _key(self, event: api.TlsAttempted, domain: str) -> PolicyKey:
        policy = event.policy
        kind = _TYPES.get(policy.source, "no-policy-found")
        known = kind != "no-policy-found"
        day = f"{datetime.fromtimestamp(self._clock.time(), UTC):%Y-%m-%d}"
        # RFC 8460 §1.1: of DANE, the Policy Domain is the TLSA base domain, which is the name of the server.
        name = (api.public_domain(event.host) or domain) if kind == "tlsa" else domain
        text = tuple(clean(line) for line in policy.text[:MOST_POLICIES]) if known else ()
        return PolicyKey(day, domain, kind, name, text, policy.patterns[:MOST_POLICIES] if kind == "sts" else ())

    async def flush(self) -> None:
        """Everything that was observed is written, or lost."""
        await self._batches.flush()

    async def _write(self) -> None:
        counts = {key: (good, self._bad[key]) for key, good in self._good.items()}
        self._good, self._bad = {}, {}
        due_at = {(key.day, key.domain): self.due_at(key.day, key.domain) for key in counts}
        try:
            lost = await self._db.run(database.add_counts, counts, due_at)
            if lost:
                self._lose(lost, "too many domains or policies in a day")
        except api.StorageFailure as error:
            number = sum(good + sum(bad.values()) for good, bad in counts.values())
            self._lose(number, error.for_operator)

    def due_at(self, day: str, domain: str) -> float:
        """When the report of a day leaves (RFC 8460 §4.1): each domain's at another moment, which stays the same."""
        midnight = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
        seed = hashlib.sha256(f"{self._hostname} {day} {domain}".encode()).digest()
        return midnight.timestamp() + random.Random(seed).uniform(0, self._spread)  # noqa: S311

    def _lose(self, sessions: int, reason: str) -> None:
        if not self.lost or self.lost // 1000 != (self.lost + sessions) // 1000:
            _log.warning("tlsrpt.sessions_missing", reason=reason, lost=self.lost + sessions)
        self.lost += sessions


def _public(address: str) -> str:
    """Behind a translator of addresses, ours means nothing to others, and tells of our network."""
    found = api.parse_ip(address)
    return address if found is not None and found.is_global else ""


def clean(text: str) -> str:
    """What others have said, on one short printable line."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])
