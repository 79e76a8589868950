"""One list: whether it works, what it says, and when it is left alone."""

from __future__ import annotations

import structlog

from mailserver import api
from mailserver.plugins.dnsbl.codes import points_of, refusals, sensible
from mailserver.plugins.dnsbl.settings import DnsList

__all__ = ["AskedList"]

_log = structlog.get_logger()
_HOUR, _PAUSE = 3600.0, 300.0
_MOST_FAILURES = 3


class AskedList:
    """A list is asked once its test entries were right, and not while it refuses us or does not answer."""

    def __init__(self, settings: DnsList, resolver: api.Resolver, clock: api.Clock) -> None:
        self.settings = settings
        self._resolver = resolver
        self._clock = clock
        self._works = not settings.test
        self._alone_until = float("-inf")
        self._failures = 0
        self._told = ""

    @property
    def usable(self) -> bool:
        """May it be asked now?"""
        return self._works and self._clock.monotonic() >= self._alone_until

    async def ask(self, name: str) -> tuple[float, str]:
        """Points for what stands in front of the zone (`7.2.0.192`, `far.test`), and the answers; 0 for none."""
        try:
            records = (await self._resolver.query(f"{name}.{self.settings.zone}", "A")).records
        except api.LookupFailed as error:
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                self._leave_alone(_PAUSE, f"it does not answer: {error}")
            return 0.0, ""
        self._failures = 0
        refused = refusals(records)
        if refused:
            self._leave_alone(
                _HOUR, f"it refuses to answer us ({refused[0]}): most lists do not answer resolvers that many share, or"
                " so many questions; set [dns] servers to a resolver of your own, or ask the list for access",
            )  # fmt: skip
            return 0.0, ""
        found = sensible(records)
        return points_of(found, self.settings.points, self.settings.codes), ", ".join(found[:4])

    async def test(self) -> float:
        """Look whether it works (RFC 5782 §5), and say so; seconds until the next look."""
        listed, unlisted = ("2.0.0.127", "1.0.0.127") if self.settings.of == "addresses" else ("test", "invalid")
        zone = self.settings.zone
        try:
            there = (await self._resolver.query(f"{listed}.{zone}", "A")).records
            absent = (await self._resolver.query(f"{unlisted}.{zone}", "A")).records
        except api.LookupFailed as error:
            self._tell(f"its test entries cannot be looked up: {error}")
            return 60.0 if not self._works else _HOUR
        if refusals(there):
            self._works = False
            self._tell(f"it refuses to answer us ({there[0]}); set [dns] servers to a resolver of your own")
        elif not sensible(there):
            self._works = False
            self._tell("its test entry is not there, so it may be gone")
        elif absent:
            self._works = False
            self._tell("it lists what is never listed, so it would list everything")
        else:
            self._works = True
            if self._told:
                self._told = ""
                _log.info("the list works again", zone=zone)
        return _HOUR

    def _leave_alone(self, seconds: float, why: str) -> None:
        self._failures = 0
        self._alone_until = self._clock.monotonic() + seconds
        self._tell(why)

    def _tell(self, why: str) -> None:
        """Once for each reason."""
        if why.partition(":")[0] != self._told:
            self._told = why.partition(":")[0]
            _log.warning("a list in DNS is not used for now", zone=self.settings.zone, reason=why)
