"""What `mailserver vacation` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailserver import api
from mailserver.plugins.vacation.ledger import Ledger
from mailserver.plugins.vacation.settings import VacationSettings
from mailserver.plugins.vacation.wishes import Vacation

__all__ = ["Operations"]

_LONGEST_SUBJECT = 200
_MOST_ADDRESSES = 50


class Operations:
    """The operations vacation.set, vacation.show, vacation.off."""

    def __init__(self, host: api.Host, settings: VacationSettings, ledger: Ledger) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger

    async def set(self, arguments: Mapping[str, Any]) -> Any:
        """Answer from now on, or from a time on. What was set before goes, and who was answered may be once more."""
        account = self._account(arguments)
        text, subject = api.text_argument(arguments, "text"), api.text_argument(arguments, "subject")
        if not text.strip():
            raise ValueError("the answer has no text")
        if len(text.encode()) > self._settings.longest_text:
            raise api.LimitReached(
                f"the text has more than {self._settings.longest_text} octets (plugins.vacation.longest_text)"
            )
        if len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
            raise ValueError(f"the subject must be one line of at most {_LONGEST_SUBJECT} characters")
        starts, ends = _number(arguments, "starts"), _number(arguments, "ends")
        now = self._host.clock.time()
        if ends and ends <= max(starts, now):
            raise ValueError("it must end after it begins, and not in the past")
        days = arguments.get("days") or self._settings.days
        if not isinstance(days, int) or not 1 <= days <= 30:
            raise ValueError("days must be a number from 1 to 30")
        wish = Vacation(
            account=account, since=now, text=text, subject=subject.strip(), starts=starts, ends=ends, days=days,
            addresses=_addresses(arguments),
        )  # fmt: skip
        await self._ledger.put(wish)
        return self._row(wish)

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """That of one account, or of all that have one."""
        await self._ledger.refresh()
        accounts = [self._account(arguments)] if api.text_argument(arguments, "account") else self._ledger.accounts()
        return [self._row(wish) for account in accounts if (wish := self._ledger.wish(account)) is not None]

    async def off(self, arguments: Mapping[str, Any]) -> Any:
        """No more answers."""
        account = self._account(arguments)
        was = self._ledger.wish(account) is not None
        await self._ledger.forget(account)
        return {"account": account, "was_set": was}

    def _account(self, arguments: Mapping[str, Any]) -> api.AccountId:
        return api.account_argument(self._host.directory, arguments).account

    def _row(self, wish: Vacation) -> dict[str, Any]:
        return {
            "account": wish.account, "subject": wish.subject, "text": wish.text, "starts": wish.starts,
            "ends": wish.ends, "days": wish.days, "addresses": list(wish.addresses),
            "answers": wish.covers(self._host.clock.time()),
        }  # fmt: skip


def _addresses(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    given = api.texts_argument(arguments, "addresses")
    if len(given) > _MOST_ADDRESSES:
        raise api.LimitReached(f"at most {_MOST_ADDRESSES} further addresses")
    keys = [api.EmailAddress.parse(one).key for one in given]
    if any(" " in key for key in keys):
        raise api.InvalidInput("an address with a space cannot be one of these")
    return tuple(dict.fromkeys(keys))


def _number(arguments: Mapping[str, Any], name: str) -> float:
    value = arguments.get(name) or 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number")
    return float(value)
