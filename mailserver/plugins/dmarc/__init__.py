"""DMARC: is the author who stands in From proved, and what does his domain want done if not? (RFC 9989, RFC 7489)

`tree.py` finds the policy, `evaluation.py` compares it with what SPF and DKIM found, `exceptions.py` knows who may
break proofs, `verdicts.py` says what follows. In `plugin_order` it stands behind those checks, and behind ARC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.dmarc.evaluation import Evaluation, evaluate
from mailserver.plugins.dmarc.exceptions import Exceptions, Override, mailing_list
from mailserver.plugins.dmarc.outages import Outages
from mailserver.plugins.dmarc.settings import DmarcSettings
from mailserver.plugins.dmarc.verdicts import (
    Disposition,
    accepted,
    doubted,
    never_known,
    no_author,
    not_known,
    unproved,
    unquoted,
)

__all__ = ["plugin"]

#: Most servers give up after some days, and tell their users after hours.
_PATIENCE = 12 * 3600.0
_LISTS: dict[str, Disposition] = {"junk": "quarantine", "refuse": "reject", "deliver": "none"}


class _Dmarc:
    """The hook."""

    def __init__(self, settings: DmarcSettings, host: api.Host) -> None:
        self._settings = settings
        self._host = host
        self._exceptions = Exceptions(settings)
        self._outages = Outages()

    def message(self, ctx: api.MessageContext) -> Awaitable[api.Verdict] | None:
        """Mail of strangers on port 25."""
        return self._judge(ctx) if ctx.session.from_stranger else None

    async def _judge(self, ctx: api.MessageContext) -> api.Verdict:
        author = ctx.message.from_author
        if author.fault:
            return no_author(author.fault, refuse=self._settings.enforce)
        verdict = await self._compared(author.domain, ctx)
        # Careless programs write some fields twice: that is no proof of wrong, but it proves nothing either.
        twice = ctx.message.repeated_field
        if twice:
            return doubted(verdict, twice)
        return unquoted(verdict) if author.careless else verdict

    async def _compared(self, author: str, ctx: api.MessageContext) -> api.Verdict:
        found = await evaluate(self._host.resolver, author, ctx.envelope.sender, ctx.session.helo, ctx.findings)
        if found.result == "temperror":
            return self._unknown(found, ctx)
        self._outages.ended(author)
        own = self._forges_ours(found, ctx)
        if found.result == "fail":
            return self._failed(found, ctx, own=own)
        if found.result == "pass":
            self._tell(found, ctx, "none", ())
        if own:
            return unproved(found, "reject" if self._is_refused_as_ours(ctx) else "none", own=True)
        return accepted(found)

    def _unknown(self, found: Evaluation, ctx: api.MessageContext) -> api.Verdict:
        """Never a pass; and not let through, unless the policy does not matter, or cannot be had for long."""
        author = found.author
        harmless = found.policy is not None and found.policy.wanted == "none"
        defer = self._settings.enforce and self._settings.on_temperror == "defer"
        defer = defer and not harmless and not _proved(found, ctx)
        # What a policy that is known forbids is never let in; but behind one that is out of reach for long may be none.
        if defer and found.policy is None and self._outages.lasts(author, self._host.clock.monotonic()) >= _PATIENCE:
            return never_known(found)
        return not_known(found, defer=defer)

    def _failed(self, found: Evaluation, ctx: api.MessageContext, *, own: bool) -> api.Verdict:
        policy = found.policy
        wanted: Disposition = policy.wanted if policy is not None else "none"
        applied, overrides = self._applied(found, ctx, wanted)
        if own and self._is_refused_as_ours(ctx):
            applied = "reject"
        if policy is not None and policy.published != wanted:
            overrides = (Override("policy_test_mode", "", "Its domain is only trying its policy out"), *overrides)
        self._tell(found, ctx, applied, overrides)
        return unproved(found, applied, own=own, wanted=wanted, overrides=overrides)

    def _applied(
        self, found: Evaluation, ctx: api.MessageContext, wanted: Disposition
    ) -> tuple[Disposition, tuple[Override, ...]]:
        """What is done, and why it is not what the domain wants."""
        if wanted == "none":
            return wanted, ()
        forwarder = self._exceptions.forwarder(found.author, ctx)
        if forwarder is not None:
            return "none", (forwarder,)
        if not self._settings.enforce:
            return "none", (Override("local_policy", "policies are not enforced here", ""),)
        through = mailing_list(ctx) if wanted == "reject" else None
        if through is not None and self._settings.mailing_lists != "refuse":
            return _LISTS[self._settings.mailing_lists], (through,)
        return wanted, ()

    def _is_refused_as_ours(self, ctx: api.MessageContext) -> bool:
        return ctx.forwarded and self._settings.enforce

    def _forges_ours(self, found: Evaluation, ctx: api.MessageContext) -> bool:
        """In the name of a domain that is served here, and neither proved nor brought by somebody who is trusted."""
        if not self._settings.own_domains or self._host.directory.domain(found.author) is None:
            return False
        return not _proved(found, ctx) and self._exceptions.forwarder(found.author, ctx) is None

    def _tell(
        self, found: Evaluation, ctx: api.MessageContext, disposition: str, overrides: tuple[Override, ...]
    ) -> None:
        """For the reports that the domain may ask for."""
        if found.policy is None:
            return
        sender, record = ctx.envelope.sender, found.policy.record
        self._host.emit(
            api.DmarcEvaluated(
                queue_id=ctx.queue_id, peer=ctx.session.peer, author=found.author, helo=ctx.session.helo,
                sender="" if sender is None else sender.domain,
                recipients=tuple(dict.fromkeys(recipient.address.domain for recipient in ctx.envelope.recipients)),
                policy_domain=found.policy.domain, p=record.p, sp=record.sp or "", np=record.np or "",
                strict_dkim=record.strict_dkim, strict_spf=record.strict_spf, fo=record.fo, testing=record.testing,
                rua=record.rua, ruf=record.ruf, passed=found.result == "pass", disposition=disposition,
                dkim_aligned=found.dkim, spf_aligned=found.spf,
                overrides=tuple((override.kind, override.comment) for override in overrides if override.kind),
                results=ctx.findings.of("dkim") + ctx.findings.of("spf"),
            )
        )  # fmt: skip


def _proved(found: Evaluation, ctx: api.MessageContext) -> bool:
    return found.result == "pass" or bool(ctx.findings.proves(found.author))


@asynccontextmanager
async def _setup(registry: api.Registry, settings: DmarcSettings, host: api.Host) -> AsyncIterator[None]:
    registry.on_message(_Dmarc(settings, host).message)
    yield


plugin = api.Plugin(
    name="dmarc", setup=_setup, settings=DmarcSettings, timeout=40.0,
    doc="Looks whether the author in From is proved, and does with forged mail what his domain wants (DMARC).",
)  # fmt: skip
