"""What becomes of mail after another server took it: marks on the way out, bounces on the way in."""

from __future__ import annotations

import re
from collections.abc import Awaitable

from mailserver import api
from mailserver.plugins.suppression.database import Sent
from mailserver.plugins.suppression.ledger import Ledger
from mailserver.plugins.suppression.origin import came_from
from mailserver.plugins.suppression.policy import Policy
from mailserver.plugins.suppression.settings import SuppressionSettings
from mailserver.plugins.suppression.tokens import FIELD, find_token, make_token, may_have_token

__all__ = ["Bounces"]

_CODE = re.compile(r"[45][0-9]{2}(?=[ -])")
#: A report goes to the one sender of a message (RFC 3461 §6.1).
_MOST_ADDRESSES = 3
_TAKEN = (api.Success.RELAYED, api.Success.PASSED_ON)


class Bounces:
    """The hooks. They are plain functions that return a coroutine only where there is something to wait for: a task
    for each message costs more than all else here."""

    def __init__(self, host: api.Host, settings: SuppressionSettings, ledger: Ledger, policy: Policy) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger
        self._policy = policy

    def message(self, ctx: api.MessageContext) -> api.Verdict | Awaitable[None] | None:
        """Mark what leaves; look into what comes back."""
        sender = ctx.envelope.sender
        if ctx.session.account is not None:
            if sender is None or not any(self._is_outside(one.address) for one in ctx.envelope.recipients):
                return None
            return api.Accept(headers=(api.HeaderField(FIELD, make_token(self._ledger.key, ctx.queue_id, sender)),))
        # RFC 5321 §4.5.5: a report has the null reverse-path.
        return self._look_into(ctx) if sender is None and ctx.session.service == "smtp" else None

    def attempted(self, event: api.Attempted) -> Awaitable[None] | None:
        """Remember who took a message of our users, and what was refused as nonexistent."""
        result = event.result
        if not event.account:
            return None
        account, address = api.AccountId(event.account), _key(event.recipient)
        if result.outcome is api.Outcome.DELIVERED and result.success in _TAKEN and address:
            row = Sent(
                queue_id=event.queue_id, address=address, account=account, host=result.remote, peer=result.address,
                at=event.at,
            )  # fmt: skip
            return self._ledger.note_sent(row, self._settings.remember)
        if result.outcome is api.Outcome.FAILED and address:
            return self._policy.failed(account, address, result.status, result.code, result.reply, "refused")
        return None

    def _is_outside(self, address: api.EmailAddress) -> bool:
        return self._host.directory.domain(address.domain) is None

    async def _look_into(self, ctx: api.MessageContext) -> None:
        addresses = [one.address for one in ctx.envelope.recipients[:_MOST_ADDRESSES]]
        head = ctx.message.head[: api.MAX_REPORT]
        # Most reports are about forged mail, which we did not send; and what costs time is for those who know a mark.
        if not may_have_token(self._ledger.key, head, addresses):
            return
        report = await self._ledger.aside(api.read_report, head)
        if report is None:
            return
        queue_id = find_token(self._ledger.key, report.header, addresses)
        if queue_id is None:
            return
        sent = {row.address: row for row in await self._ledger.sent(queue_id)}
        for one in report.recipients:
            row = _meant(one, sent)
            if row is not None and one.action == "failed":
                del sent[row.address]
                await self._bounced(one, row, report.reporter, ctx.session.peer)

    async def _bounced(self, one: api.ReportedAddress, row: Sent, reporter: str, peer: str) -> None:
        credible = await came_from(peer, row.host, row.peer, self._host.resolver)
        self._host.emit(
            api.Bounced(
                queue_id=api.QueueId(row.queue_id), account=row.account, recipient=row.address, status=one.status,
                reply=one.diagnostic, reporter=reporter, credible=credible,
            )
        )  # fmt: skip
        if not credible:
            return
        await self._ledger.forget_sent(row)
        if row.address in (_key(one.original), _key(one.final)):
            match = _CODE.match(one.diagnostic)
            code = int(match[0]) if match else 550
            await self._policy.failed(row.account, row.address, one.status, code, one.diagnostic, "bounced")


def _meant(one: api.ReportedAddress, sent: dict[str, Sent]) -> Sent | None:
    """The recipient that a report speaks of; when it names none of them (its server forwarded the message on), and
    there was only one, that one."""
    for text in (one.original, one.final):
        row = sent.get(_key(text))
        if row is not None:
            return row
    return next(iter(sent.values())) if len(sent) == 1 else None


def _key(text: str) -> str:
    """The address as the ledger has it, "" when it is none."""
    try:
        return api.EmailAddress.parse(api.decode_unitext(text) or "").key
    except api.InvalidInput:
        return ""
