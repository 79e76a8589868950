"""SPF: may this client send mail of that domain? (RFC 7208)

`checking.py` evaluates the records; this file asks for the name in EHLO and for the envelope sender, and says what the
answers mean. A bounce has no sender: the name in EHLO stands for it (§2.4).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.spf.checking import Outcome, SpfCheck
from mailserver.plugins.spf.received import received_spf
from mailserver.plugins.spf.settings import SpfSettings

__all__ = ["plugin"]

_DETOUR = (
    "Mail that was forwarded on its way fails so as well. If you know the sender and expected this message, allow the"
    " address; else do not trust the name."
)


class _Spf:
    """The hooks."""

    def __init__(self, settings: SpfSettings, host: api.Host) -> None:
        self._settings = settings
        self._host = host

    def helo(self, ctx: api.HeloContext) -> Awaitable[api.Verdict] | None:
        """The name that the client gives itself; an address literal has no policy."""
        session = ctx.session
        if not _concerns(session) or session.helo.startswith("[") or "." not in session.helo:
            return None
        return self._helo(session)

    async def _helo(self, session: api.Session) -> api.Verdict:
        outcome = await self._check(session, f"postmaster@{session.helo}").run()
        reasons: tuple[api.Reason, ...] = ()
        if outcome.result == "fail":
            text = f"The server that brought it calls itself {session.helo}, and that domain says it is none of its own"
            reasons = (api.Reason("spf", 1.0, text),)
        return api.Accept(findings=api.Findings((_result(outcome, "smtp.helo", session.helo),), reasons))

    def mail(self, ctx: api.MailContext) -> Awaitable[api.Verdict | None] | api.Verdict | None:
        """The envelope sender."""
        if not _concerns(ctx.session):
            return None
        sender = ctx.envelope.sender
        if sender is not None:
            return self._mail(ctx.session, sender)
        if self._settings.reject_fail and any(result.result == "fail" for result in ctx.findings.of("spf")):
            return _refusal(ctx.session.helo, ctx.session.peer, "")
        return None

    async def _mail(self, session: api.Session, sender: api.EmailAddress) -> api.Verdict:
        check = self._check(session, f"{sender.local}@{sender.domain}")
        outcome = await check.run()
        findings = api.Findings(
            (_result(outcome, "smtp.mailfrom", str(sender)),), _reasons(outcome.result, sender.domain, session.peer)
        )
        if outcome.result == "fail" and self._settings.reject_fail:
            refusal = _refusal(sender.domain, session.peer, await check.explain(outcome))
            return api.Reject(refusal.reply, refusal.reason, findings=findings)
        return api.Accept(findings=findings)

    def message(self, ctx: api.MessageContext) -> api.Verdict | None:
        """Only with `received_spf`."""
        if not _concerns(ctx.session):
            return None
        field = received_spf(self._host.hostname, ctx.session, ctx.envelope.sender, ctx.findings)
        return None if field is None else api.Accept((field,))

    def _check(self, session: api.Session, sender: str) -> SpfCheck:
        host = self._host
        return SpfCheck(host.resolver, session.peer, session.helo, sender, host.hostname, host.clock.time())


def _concerns(session: api.Session) -> bool:
    return session.from_stranger and api.parse_ip(session.peer) is not None


def _result(outcome: Outcome, name: str, value: str) -> api.AuthResult:
    return api.AuthResult(
        method="spf", result=outcome.result, reason=outcome.problem, properties=((name, value),)
    )


def _reasons(result: str, domain: str, peer: str) -> tuple[api.Reason, ...]:
    if result == "fail":
        text = f"The domain {domain} says that the server at {peer} may not send mail in its name (SPF)"
        return (api.Reason("spf", 1.5, text, _DETOUR),)
    if result == "softfail":
        text = f"The domain {domain} says that the server at {peer} probably should not send mail in its name (SPF)"
        return (api.Reason("spf", 0.7, text, _DETOUR),)
    return ()


def _refusal(domain: str, peer: str, explanation: str) -> api.Reject:
    """RFC 7372 §3.2; whose words the explanation is must be clear (RFC 7208 §8.4)."""
    text = f"SPF: {domain} says that {peer} may not send its mail"
    if explanation:
        text += f". {domain} explains: {explanation}"
    return api.Reject(api.Reply(550, "5.7.23", text), "spf fail")


@asynccontextmanager
async def _setup(registry: api.Registry, settings: SpfSettings, host: api.Host) -> AsyncIterator[None]:
    spf = _Spf(settings, host)
    registry.on_helo(spf.helo)
    registry.on_mail(spf.mail)
    if settings.received_spf:
        registry.on_message(spf.message)
    yield


plugin = api.Plugin(
    name="spf", setup=_setup, settings=SpfSettings, timeout=50.0,
    doc="Asks the sender's domain whether the client may send for it (SPF).",
)  # fmt: skip
