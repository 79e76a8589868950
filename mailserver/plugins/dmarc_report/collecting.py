"""Counts what came in a domain's name, by UTC day and policy domain (RFC 9990 §3.1). Mail never waits for it.

Messages are added up in memory and written every few seconds; a crash loses the last ones, and nothing else. Kept are
domains and addresses of servers, never an address of a person (§7.2), and only for domains that ask for reports.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import structlog

from mailserver import api
from mailserver.plugins.dmarc_report import database

__all__ = ["Collector", "clean"]

_log = structlog.get_logger()
#: Seconds between an event and its row.
_PAUSE = 5.0
#: Kinds of rows in memory: a few MB.
_MOST_KINDS = 10_000
#: Of one message (§3.1.3).
_MOST_SIGNATURES, _MOST_REASONS = 20, 5
_LONGEST = 255
_DKIM = frozenset({"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"})
_SPF = _DKIM | {"softfail"}


class Collector:
    """`observe` is told of each evaluation. `spread`: seconds after midnight within which reports are sent."""

    def __init__(self, db: api.DatabaseThread, clock: api.Clock, hostname: str, spread: float) -> None:
        self._db = db
        self._clock = clock
        self._hostname = hostname
        self._spread = spread
        self._counts: dict[tuple[str, str], tuple[dict[str, Any], dict[str, int]]] = {}
        self._kinds = 0
        self._batches = api.Batches(self._write, lambda: bool(self._counts), pause=_PAUSE, name="dmarc_report")
        #: Messages that are in no row.
        self.lost = 0

    def observe(self, event: api.DmarcEvaluated) -> None:
        """One message, if its author's domain asks for reports."""
        if not event.rua:
            return
        facts = orjson.dumps(_facts(event)).decode()
        key = (f"{datetime.fromtimestamp(self._clock.time(), UTC):%Y-%m-%d}", event.policy_domain)
        known = self._counts.get(key, ({}, {}))[1]
        if facts not in known:
            if self._kinds >= _MOST_KINDS:
                self._lose(1, "too many kinds of mail at once")
                return
            self._kinds += 1
        # Of several policies within the day the last one is told (§3.1).
        self._counts[key] = (_policy(event), known)
        known[facts] = known.get(facts, 0) + 1
        self._batches.soon()

    async def flush(self) -> None:
        """Everything that was observed is written, or lost."""
        await self._batches.flush()

    async def _write(self) -> None:
        counts, self._counts, self._kinds = self._counts, {}, 0
        due_at = {key: self.due_at(*key) for key in counts}
        try:
            lost = await self._db.run(database.add_counts, counts, due_at)
            if lost:
                self._lose(lost, "too many domains or kinds of mail in a day")
        except api.StorageFailure as error:
            self._lose(sum(sum(rows.values()) for _, rows in counts.values()), error.for_operator)

    def due_at(self, day: str, domain: str) -> float:
        """When the report of a day leaves: each domain's at another moment, which stays the same."""
        midnight = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
        seed = hashlib.sha256(f"dmarc {self._hostname} {day} {domain}".encode()).digest()
        return midnight.timestamp() + random.Random(seed).uniform(0, self._spread)  # noqa: S311

    def _lose(self, messages: int, reason: str) -> None:
        if not self.lost or self.lost // 1000 != (self.lost + messages) // 1000:
            _log.warning("dmarc_report.messages_missing", reason=reason, lost=self.lost + messages)
        self.lost += messages


def _policy(event: api.DmarcEvaluated) -> dict[str, Any]:
    """With the defaults of what is not given (§3.1.1.5)."""
    sp = event.sp or event.p
    return {
        "p": event.p, "sp": sp, "np": event.np or sp, "fo": clean(event.fo), "adkim": "s" if event.strict_dkim else "r",
        "aspf": "s" if event.strict_spf else "r", "testing": "y" if event.testing else "n",
    }  # fmt: skip


def _facts(event: api.DmarcEvaluated) -> dict[str, Any]:
    """What makes messages one row (§3.1.1.7)."""
    return {
        "source": event.peer, "disposition": _disposition(event), "dkim": event.dkim_aligned, "spf": event.spf_aligned,
        "reasons": list(_reasons(event)), "author": clean(event.author), "sender": clean(event.sender),
        "signatures": list(_signatures(event)), "sender_spf": _spf(event),
    }  # fmt: skip


def _wanted(event: api.DmarcEvaluated) -> set[str]:
    """What the record may have asked for; whether a name below exists is not told."""
    if event.author == event.policy_domain:
        return {event.p}
    return {event.sp or event.p, event.np or event.sp or event.p}


def _disposition(event: api.DmarcEvaluated) -> str:
    # Appendix A: mail that passed under a policy that enforces something is told apart from mail that had none.
    return "pass" if event.passed and "none" not in _wanted(event) else event.disposition


def _reasons(event: api.DmarcEvaluated) -> Iterator[tuple[str, str]]:
    yield from ((kind, clean(comment)) for kind, comment in event.overrides[:_MOST_REASONS])
    # §3.1.1.9: something else than the policy must have a reason.
    if not event.passed and not event.overrides and event.disposition not in _wanted(event):
        yield "local_policy", ""


def _signatures(event: api.DmarcEvaluated) -> Iterator[tuple[str, str, str]]:
    found = [
        (clean(result.value("header.d").lower()), clean(result.value("header.s")), result.result)
        for result in event.results
        if result.method == "dkim" and result.result in _DKIM and result.value("header.d")
    ]
    # §3.1.3: the ones that prove something first.
    found.sort(key=lambda one: (one[2] != "pass", one[0] != event.author))
    yield from found[:_MOST_SIGNATURES]


def _spf(event: api.DmarcEvaluated) -> tuple[str, str] | None:
    """Domain and result of MAIL FROM, which for a bounce is the name in EHLO (RFC 7208 §2.4)."""
    for result in event.results:
        if result.method == "spf" and result.result in _SPF:
            name = result.value("smtp.mailfrom" if event.sender else "smtp.helo").rpartition("@")[2].lower()
            if name:
                return clean(name), result.result
    return None


def clean(text: str) -> str:
    """What others have said, on one short printable line."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])
