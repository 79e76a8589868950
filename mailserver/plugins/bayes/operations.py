"""What `mailserver bayes` asks for."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mailserver import api
from mailserver.plugins.bayes.database import EVERYBODY
from mailserver.plugins.bayes.learning import Learning
from mailserver.plugins.bayes.ledger import Ledger
from mailserver.plugins.bayes.model import MOST_OCTETS
from mailserver.plugins.bayes.settings import BayesSettings

__all__ = ["Operations"]

#: Messages of a mailbox from which one call learns.
_MOST_AT_ONCE = 100


class Operations:
    """The operations bayes.train, bayes.show, bayes.reset."""

    def __init__(self, host: api.Host, settings: BayesSettings, ledger: Ledger, learning: Learning) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger
        self._learning = learning

    async def train(self, arguments: Mapping[str, Any]) -> Any:
        """Learn from messages that are given (`messages`, in base64), or from some of a `mailbox` above UID `after`;
        `more` says whether there are others, above `after`. An `account` of "" teaches everybody."""
        junk = arguments.get("junk")
        if not isinstance(junk, bool):
            raise api.InvalidInput("say whether it is junk or good mail")
        account = self._account(arguments)
        if isinstance(arguments.get("mailbox"), str):
            return await self._train_mailbox(account, arguments, junk=junk)
        messages = _given(arguments)
        learned = sum([await self._learn(account, octets, junk=junk) for octets in messages])
        return {"learned": learned, "known": len(messages) - learned, "after": 0, "more": False}

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """How much was learned, by whom. `weight` is how much of its points a message gets there, from 0 to 1."""
        owners, size = await self._ledger.owners()
        everybody = next((owner.totals.least for owner in owners if owner.account == EVERYBODY), 0)
        rows = [
            {
                "account": owner.account, "junk": owner.totals.junk, "good": owner.totals.good,
                "weight": min(1.0, max(owner.totals.least, everybody) / self._settings.enough),
            }
            for owner in owners
        ]  # fmt: skip
        return {"owners": rows, "enough": self._settings.enough, "size": size}

    async def reset(self, arguments: Mapping[str, Any]) -> Any:
        """Forget what an account taught, or (`account` "") what everybody learned."""
        account = self._account(arguments)
        return {"account": account, "forgotten": await self._ledger.forget(account)}

    async def _train_mailbox(self, account: str, arguments: Mapping[str, Any], *, junk: bool) -> Any:
        if not account:
            raise api.InvalidInput("name the account whose mailbox it is")
        after = arguments.get("after", 0)
        if type(after) is not int:
            raise api.InvalidInput("after is a UID")
        store = await self._host.store.existing_account(api.AccountId(account))
        learned = known = 0
        async with store.open(arguments["mailbox"]) as mailbox:
            uids = [uid for uid in mailbox.table.uids if uid > after]
            more = len(uids) > _MOST_AT_ONCE
            for after in uids[:_MOST_AT_ONCE]:
                with suppress(api.NotFound):
                    new = await self._learn(account, await mailbox.read(after, 0, MOST_OCTETS), junk=junk)
                    learned, known = learned + new, known + (not new)
        return {"learned": learned, "known": known, "after": after, "more": more}

    async def _learn(self, account: str, octets: bytes, *, junk: bool) -> bool:
        return await self._ledger.learn(self._learning.lesson(account, octets, junk=junk))

    def _account(self, arguments: Mapping[str, Any]) -> str:
        if not api.text_argument(arguments, "account"):
            return EVERYBODY
        return api.account_argument(self._host.directory, arguments).account


def _given(arguments: Mapping[str, Any]) -> list[bytes]:
    messages = arguments.get("messages")
    if not isinstance(messages, list):
        raise api.InvalidInput("messages is a list")
    try:
        return [binascii.a2b_base64(text, strict_mode=True) for text in messages]
    except (ValueError, TypeError):
        raise api.InvalidInput("a message is not in base64") from None
