"""The `on_message` hook."""

from __future__ import annotations

from collections.abc import Awaitable

from mailserver import api
from mailserver.plugins.dkim_verify.replays import Replays

__all__ = ["Checker"]


class Checker:
    """Looks at mail from port 25 that nobody vouches for."""

    def __init__(self, host: api.Host, workers: api.Workers, replays: Replays) -> None:
        self._resolver = host.resolver
        self._clock = host.clock
        self._workers = workers
        self._replays = replays

    def check(self, ctx: api.MessageContext) -> Awaitable[api.Verdict] | None:
        """A result for each signature, and perhaps a reason against the message."""
        return self._check(ctx) if ctx.session.from_stranger else None

    async def _check(self, ctx: api.MessageContext) -> api.Verdict:
        message = ctx.message
        verification = api.DkimVerification(message.signed_header, self._clock.time())
        digests = await api.check_signed_header(verification, self._resolver, self._workers, message.header_size)
        if digests:
            await api.digest_body(ctx.content, message, digests, self._workers)
        results = verification.results(digests)
        good = [
            octets
            for octets, result in zip(verification.signature_octets(), results, strict=False)
            if result.result == "pass"
        ]
        reasons = self._replays.reasons(ctx.queue_id, good, len(ctx.envelope.recipients)) if good else ()
        return api.Accept(findings=api.Findings(results, reasons))
