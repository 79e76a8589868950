"""The last word on a message for an account: what its owner says of the sender, else the sum of all points."""

from __future__ import annotations

import structlog

from mailserver import api
from mailserver.plugins.junk.ledger import Ledger
from mailserver.plugins.junk.refused import digest
from mailserver.plugins.junk.settings import JunkSettings
from mailserver.plugins.junk.wishes import ALLOW, BLOCK, Sender, Thresholds, patterns_of

__all__ = ["Decision"]

_log = structlog.get_logger()
CHECK = "junk"
_BLOCKED = "The recipient does not take mail from this sender"
_REFUSED = "The recipient's filter takes this message for junk"


class Decision:
    """The hook `on_delivery`, after those of all checks."""

    def __init__(self, host: api.Host, settings: JunkSettings, ledger: Ledger) -> None:
        self._clock = host.clock
        self._settings = settings
        self._ledger = ledger

    async def delivery(self, ctx: api.DeliveryContext) -> api.Verdict | None:
        """Deliver, Junk, or refuse."""
        if not ctx.session.from_stranger:
            return None
        found: tuple[api.Reason, ...] = ()
        entry = self._entry(ctx) if self._ledger.has_senders(ctx.account) else None
        if entry is not None and entry.action == BLOCK:
            return self._blocked(entry)
        if entry is not None:
            # Nobody is the author of a message that two programs could read in two ways.
            proof = ctx.findings.proves(ctx.message.sole_author.domain)
            if proof and not ctx.quarantined:
                return api.Accept(findings=_findings(f"You allow mail from {_shown(entry)} ({proof} proves it)"))
            # An address in From is what anybody can write there.
            but = "a check keeps it out of the inbox all the same" if proof else "nothing proves that it is from there"
            found = _findings(f"You allow mail from {_shown(entry)}, but {but}").reasons
        limits, score = self._limits(ctx.account), ctx.findings.score
        if limits.reject and score >= limits.reject:
            text = f"It has {score:.1f} points, and is refused from {limits.reject:g} on"
            return await self._refuse(ctx, api.Findings((), (*found, api.Reason(CHECK, 0.0, text, _advice(ctx)))))
        if ctx.quarantined or (limits.junk and score >= limits.junk):
            text = f"It has {score:.1f} points; with {limits.junk:g} or more a message goes to Junk"
            if ctx.quarantined and (not limits.junk or score < limits.junk):
                text = "One of the checks wants it to go to Junk, whatever its points"
            reasons = (*found, api.Reason(CHECK, 0.0, text, _advice(ctx)))
            return api.Quarantine("junk", findings=api.Findings((), reasons))
        return api.Accept(findings=api.Findings((), found)) if found else None

    def _entry(self, ctx: api.DeliveryContext) -> Sender | None:
        """What the account's list says: a block of whoever is named, else an allowance of the only author."""
        authors = _authors(ctx)
        named = [*authors, ctx.envelope.sender] if ctx.envelope.sender is not None else authors
        entries = [self._ledger.sender(ctx.account, patterns_of(address)) for address in named]
        blocks = (entry for entry in entries if entry is not None and entry.action == BLOCK)
        # An author who is allowed by address is not blocked with the rest of a domain: the narrowest entry was found.
        if len(authors) == 1 and entries[0] is not None and entries[0].action == ALLOW:
            return entries[0]
        return next(blocks, None)

    def _blocked(self, entry: Sender) -> api.Verdict:
        advice = f"To take mail from there again: mailserver sender remove {entry.account} {_shown(entry)}"
        findings = _findings(f"You block mail from {_shown(entry)}", advice)
        return self._refusal(_BLOCKED, "blocked", findings, keep=False)

    async def _refuse(self, ctx: api.DeliveryContext, findings: api.Findings) -> api.Verdict:
        # Between two rounds of cleaning a few large ones could fill the account.
        keep = self._settings.most_kept > 0 and ctx.content.size <= self._settings.max_size // 10
        if keep:
            now = self._clock.time()
            try:
                since = now - self._settings.keep
                keep = await self._ledger.first_time(ctx.account, digest(ctx.message, ctx.content.size), now, since)
            except api.StorageFailure as error:
                # A copy too many is better than none.
                _log.warning("junk.not_noted", queue_id=ctx.queue_id, error=error.for_operator)
        return self._refusal(_REFUSED, "junk", findings, keep=keep)

    def _refusal(self, words: str, reason: str, findings: api.Findings, *, keep: bool) -> api.Verdict:
        if self._settings.refuse_with == "defer":
            return api.Defer(api.Reply(451, "4.7.1", words), reason, findings=findings, keep=keep)
        return api.Reject(api.Reply(550, "5.7.1", words), reason, findings=findings, keep=keep)

    def _limits(self, account: api.AccountId) -> Thresholds:
        own = self._ledger.thresholds(account)
        junk, reject = (own.junk, own.reject) if own is not None else (None, None)
        return Thresholds(
            self._settings.junk if junk is None else junk, self._settings.reject if reject is None else reject
        )


def _authors(ctx: api.DeliveryContext) -> list[api.EmailAddress]:
    return [author.address for author in ctx.message.authors if author.address is not None]


def _findings(text: str, advice: str = "") -> api.Findings:
    return api.Findings((), (api.Reason(CHECK, 0.0, text, advice),))


def _shown(entry: Sender) -> str:
    return entry.pattern.removeprefix("@")


def _advice(ctx: api.DeliveryContext) -> str:
    """How its owner gets the next one of this sender."""
    authors = _authors(ctx)
    if len(authors) != 1:
        return ""
    if not ctx.findings.proves(authors[0].domain):
        return f"It is not proved that {authors[0].key} sent it, so to allow that sender does not help"
    return f"To have mail of {authors[0].key} delivered always: mailserver sender allow {ctx.account} {authors[0].key}"
