"""When an address goes on the list, and what an account is told that writes there all the same."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime

from mailserver import api
from mailserver.plugins.suppression.database import Entry
from mailserver.plugins.suppression.ledger import Ledger
from mailserver.plugins.suppression.settings import SuppressionSettings

__all__ = ["Policy"]

#: Nobody is there. Full mailboxes, policies, spam filters and our own errors never count, whatever code they come with.
_HARD = frozenset({api.Cause.UNKNOWN_USER, api.Cause.MAILBOX_DISABLED, api.Cause.MOVED})
#: Codes under which a server may say so (RFC 3463 §3.2, §3.3; the last four are those of servers that do not know
#: better), and not of the sender, of a domain, of a login, or of a policy.
_STATUS = frozenset({"1.1", "1.6", "1.10", "2.1", "1.0", "2.0", "5.0", "0.0"})
_CODES = range(540, 560)
_LONGEST_REASON = 200


class Policy:
    """The decisions."""

    def __init__(self, host: api.Host, settings: SuppressionSettings, ledger: Ledger) -> None:
        self._emit = host.emit
        self._clock = host.clock
        self._settings = settings
        self._ledger = ledger

    def rcpt(self, ctx: api.RcptContext) -> api.Verdict | None:
        """RCPT of our users: told at once, while they look at their message."""
        account = ctx.session.account
        if account is None or ctx.local:
            return None
        entry = self._ledger.get(account, ctx.recipient.address.key)
        if entry is None or not entry.active(self._clock.time()):
            return None
        return api.Reject(api.Reply(550, "5.1.1", _words(entry)), reason="suppressed")

    async def failed(
        self, account: api.AccountId, address: str, status: str, code: int, reply: str, source: str
    ) -> None:
        """A server says that mail of this account did not reach an address; `code` 0 is our own finding."""
        # DNS and connections are looked at anew each time: only what a mail server says of a mailbox is remembered.
        if status[:2] != "5." or status[2:] not in _STATUS or code not in _CODES:
            return
        if api.cause_of(status, code, reply) not in _HARD:
            return
        now, known = self._clock.time(), self._ledger.get(account, address)
        if known is not None and known.active(now):
            return
        repeated = known is not None and now < known.until + self._settings.again
        entry = Entry(
            account=account, address=address, since=now,
            until=now + (self._settings.again if repeated else self._settings.first),
            times=known.times + 1 if known is not None and repeated else 1, status=status,
            reason=_line(reply), source=source,
        )  # fmt: skip
        await self._ledger.put(entry, self._settings.most)
        self._emit(
            api.Suppressed(
                account=account, recipient=address, until=entry.until, status=status, reply=entry.reason
            )
        )

    def judged(self, event: api.Judged) -> Awaitable[None] | None:
        """Who writes to us exists, so an answer may go there. It must be proved that he does: anybody can write any
        address as his own."""
        if event.refused or not event.sender or not self._ledger:
            return None
        now, address = self._clock.time(), _fold(event.sender)
        entry = self._ledger.get(event.account, address)
        if entry is None or entry.source == "added" or not entry.active(now):
            return None
        return self._lift(entry, now) if event.findings.proves(address.rpartition("@")[2]) else None

    async def _lift(self, entry: Entry, now: float) -> None:
        """It stays on the list, so that the next failure is a repetition."""
        await self._ledger.put(replace(entry, until=now), self._settings.most)


def _fold(address: str) -> str:
    try:
        return api.EmailAddress.parse(address).key
    except api.InvalidInput:
        return ""


def _words(entry: Entry) -> str:
    day = datetime.fromtimestamp(entry.since, UTC).date()
    until = f" until {datetime.fromtimestamp(entry.until, UTC).date()}" if entry.until else ""
    lift = f"The postmaster can lift that: mailserver suppression remove {entry.address}"
    if entry.source == "added":
        why = f" ({entry.reason})" if entry.reason else ""
        return f"Mail from you to {entry.address} was stopped by the administrator on {day}{until}{why}. {lift}"
    return (
        f"Nobody is reached at {entry.address}: mail came back on {day} ({entry.status}), and is refused here{until}."
        f" {lift}"
    )


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_REASON])
