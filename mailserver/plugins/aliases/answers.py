"""Answers to the question whether somebody agrees: who writes YES to the address that only he was told, agrees.

The address proves that its writer read the mail of the target, so it may be written from anywhere: people answer from
other addresses than those that they are written to. It is no link, so nothing that looks into mail follows it; what
programs answer on their own does not count. Only a clear yes is one (`meaning.py`). What was written
goes to the postmaster, too, as it may be a question.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

import structlog

from mailserver import api
from mailserver.plugins.aliases.addresses import Addresses
from mailserver.plugins.aliases.asking import Asking
from mailserver.plugins.aliases.meaning import Meaning, meaning_of
from mailserver.plugins.aliases.tokens import is_token, matches, request_of

__all__ = ["Answers"]

_log = structlog.get_logger()
_VOID = api.Unresolvable(
    reply=api.Reply(
        550, "5.1.1",
        "No answer is awaited here any more: it came already, the question was too old, or the alias is gone",
    )
)  # fmt: skip


class Answers:
    """The hooks. The one for messages is a plain function: nearly all of them are no answers."""

    def __init__(self, host: api.Host, addresses: Addresses, asking: Asking) -> None:
        self._host = host
        self._addresses = addresses
        self._asking = asking

    def resolve(self, ctx: api.ResolveContext) -> api.Resolution | api.Unresolvable | None:
        """An answer reaches the postmaster; where there is none to reach, whoever wrote it."""
        if not is_token(ctx.address) or self._host.directory.domain(ctx.address.domain) is None:
            return None
        found = self._find(ctx.address)
        if found is None:
            return _VOID
        postmaster = api.EmailAddress("postmaster", ctx.address.domain)
        reached = postmaster if self._addresses.reaches(postmaster) else found[1].target
        return api.Resolution(destinations=(api.Redirect(address=reached),))

    def message(self, ctx: api.MessageContext) -> Awaitable[None] | None:
        """Is it an answer?"""
        to = [one.address for one in ctx.envelope.recipients if is_token(one.address)]
        return self._take(ctx, to) if to else None

    async def _take(self, ctx: api.MessageContext, to: list[api.EmailAddress]) -> None:
        automatic = api.automatic_sign(ctx.envelope.sender, ctx.message.head)
        for address in to:
            found = self._find(address)
            if found is None:
                continue
            alias, asked = found
            if automatic:
                _log.info("aliases.automatic_answer", alias=str(alias.address), target=str(asked.target))
                continue
            meaning = meaning_of(api.first_words(ctx.message.head))
            with suppress(api.NotFound):
                # Not found: another answer was quicker.
                await self._obey(meaning, alias, asked)

    async def _obey(self, meaning: Meaning, alias: api.Alias, asked: api.Pending) -> None:
        """Raises NotFound."""
        names = {"alias": str(alias.address), "target": str(asked.target)}
        if meaning is Meaning.YES:
            await self._host.directory.confirm_target(alias.address, asked.target)
            _log.info("aliases.confirmed", **names, by="answer")
            await self._write(self._asking.thank(alias, asked.target), asked)
        elif meaning is Meaning.NO:
            await self._host.directory.ask_targets(alias.address, [replace(asked, until=0.0)])
            _log.info("aliases.declined", **names)
        else:
            _log.info("aliases.unclear_answer", **names)
            await self._write(self._asking.ask_for_yes(alias, asked.target), asked)

    async def _write(self, letter: Awaitable[None], asked: api.Pending) -> None:
        try:
            await letter
        except api.MailError as error:
            # What he answered counts all the same.
            _log.warning("aliases.letter_not_sent", target=str(asked.target), error=error.for_operator)

    def _find(self, address: api.EmailAddress) -> tuple[api.Alias, api.Pending] | None:
        """The question that this is the answer to, if it still counts."""
        found = self._host.directory.question(request_of(address))
        if found is None or found[1].until <= self._host.clock.time() or not matches(address, *found):
            return None
        return found
