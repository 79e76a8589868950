"""Where mail for these addresses goes, and who may write as them."""

from __future__ import annotations

from mailserver import api
from mailserver.plugins.addresses.ledger import Ledger

__all__ = ["Resolving"]

_BLOCKED = api.Unresolvable(reply=api.Reply(550, "5.1.1", "This address takes no mail"))
_ENDED = api.Unresolvable(reply=api.Reply(550, "5.1.1", "This address was a temporary one, and is not used any more"))


class Resolving:
    """The hooks; they come before those of accounts and aliases, so that what is blocked is blocked."""

    def __init__(self, host: api.Host, ledger: Ledger) -> None:
        self._directory = host.directory
        self._ledger = ledger

    def resolve(self, ctx: api.ResolveContext) -> api.Resolution | api.Unresolvable | None:
        """An address itself is meant, without its sub-addresses; of a domain everything that it has not of its own."""
        key = ctx.address.key
        if key in self._ledger.blocked():
            return _BLOCKED
        one = self._ledger.temporary(key)
        if one is not None:
            account = self._directory.account(one.account) if self._ledger.is_live(one) else None
            if account is not None:
                return api.Resolution(destinations=api.places_of(self._directory, account))
            return _ENDED
        other = self._other(ctx.address)
        return None if other is None else api.Resolution(destinations=(api.Redirect(address=other),))

    def sender_allowed(self, ctx: api.SenderContext) -> bool | None:
        """One's own temporary addresses, and one's own address in a domain that stands for its domain."""
        one = self._ledger.temporary(ctx.address.key)
        if one is not None:
            # A catch-all is nobody's right to them.
            return self._ledger.is_live(one) and one.account == ctx.account
        other = self._other(ctx.address)
        match = api.find_address(self._directory, other) if other is not None else None
        return True if isinstance(match, api.AccountMatch) and match.account.account == ctx.account else None

    def _other(self, address: api.EmailAddress) -> api.EmailAddress | None:
        """The same name in the domain that this one's stands for."""
        target = self._ledger.domains().get(address.domain)
        if target is None or self._directory.domain(target) is None:
            return None
        return None if api.find_address(self._directory, address) else api.EmailAddress(address.local, target)
