"""What one of our users may send in a day: a stolen password must not make us a source of spam (ATTACKS G19)."""

from __future__ import annotations

from collections.abc import Callable

from mailserver import api
from mailserver.plugins.rate_limit.ledger import Ledger
from mailserver.plugins.rate_limit.settings import AccountLimits, RateLimitSettings

__all__ = ["AccountPolicy"]

_NO_EXCEPTION = AccountLimits()


class AccountPolicy:
    """Every refusal is temporary, and the first one of a day is an alarm."""

    def __init__(self, settings: RateLimitSettings, ledger: Ledger, emit: Callable[[api.Event], None]) -> None:
        self._settings = settings
        self._ledger = ledger
        self._emit = emit

    def mail(self, account: api.AccountId) -> api.Verdict | None:
        """One more message."""
        limit = self._exception(account).messages_per_day or self._settings.account_messages_per_day
        count = self._ledger.sent(account)[0]
        if count >= limit:
            return self._refused(account, "account_messages_per_day", limit, "You have sent as many messages")
        self._ledger.add(account, messages=1)
        return None

    async def rcpt(self, account: api.AccountId, recipient: api.EmailAddress, *, local: bool) -> api.Verdict | None:
        """One more recipient; `local`: in a domain of ours, where nobody is a stranger."""
        exception, settings = self._exception(account), self._settings
        limit = exception.recipients_per_day or settings.account_recipients_per_day
        if self._ledger.sent(account)[1] >= limit:
            return self._refused(account, "account_recipients_per_day", limit, "You have written to as many recipients")
        if not local and not await self._ledger.knows(account, recipient.key):
            limit = exception.new_recipients_per_day or settings.account_new_recipients_per_day
            if self._ledger.new(account) >= limit:
                name = "account_new_recipients_per_day"
                return self._refused(account, name, limit, "You have written to as many new addresses")
            self._ledger.remember(account, recipient.key)
        self._ledger.add(account, recipients=1)
        return None

    def _exception(self, account: api.AccountId) -> AccountLimits:
        return self._settings.account_exceptions.get(account, _NO_EXCEPTION)

    def _refused(self, account: api.AccountId, name: str, limit: int, text: str) -> api.Verdict:
        if self._ledger.alarm(account, name):
            self._emit(api.SendingLimited(account=account, limit=name, count=limit))
        words = f"{text} as one account may in a day ({limit}); try again later"
        return api.Defer(api.Reply(451, "4.7.1", words), reason=f"sending limit: {name}")
