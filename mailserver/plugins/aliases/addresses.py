"""Where mail for an alias or to a catch-all goes, and who may write as it. All look-ups are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailserver import api

__all__ = ["Addresses"]

_MAX_DEPTH = 10
_MAX_ADDRESSES = 1000
# RFC 3463 §3.3, X.2.1: the mailbox exists and takes nothing now. Whom it leads to is nobody's business.
_WAITS = api.Unresolvable(
    reply=api.Reply(
        450, "4.2.1", "Mail for this address is to be forwarded to somebody who has not agreed yet; try again later"
    )
)


class Addresses:
    """Of the directory."""

    def __init__(self, directory: api.Directory) -> None:
        self._directory = directory

    def resolve(self, ctx: api.ResolveContext) -> api.Resolution | api.Unresolvable | None:
        """The targets of an alias that may be used; for an address that is nobody's, the domain's catch-all."""
        targets, awaited = self._targets(ctx.address)
        used = [target for target in targets if not self._waits(target)]
        if used:
            return api.Resolution(destinations=tuple(api.Redirect(address=target) for target in used))
        return _WAITS if targets or awaited else None

    def sender_allowed(self, ctx: api.SenderContext) -> bool | None:
        """Whoever gets the mail of an alias may write as it, through other aliases too."""
        waiting, seen = [ctx.address], {ctx.address.key}
        for _ in range(_MAX_DEPTH):
            following: list[api.EmailAddress] = []
            for address in waiting:
                for target in self._targets(address)[0]:
                    match = api.find_address(self._directory, target)
                    if isinstance(match, api.AccountMatch):
                        if match.account.account == ctx.account:
                            return True
                    elif target.key not in seen and len(seen) < _MAX_ADDRESSES:
                        seen.add(target.key)
                        following.append(target)
            waiting = following
        return None

    def needs_consent(self, target: api.EmailAddress) -> bool:
        """Is it the address of somebody who is not ours, and not trusted?"""
        return self._directory.needs_consent(target)

    def reaches(self, address: api.EmailAddress) -> bool:
        """Would mail for this address be taken at this moment?"""
        if api.is_role(address) and not api.leads_to_somebody(self._directory, address):
            role = api.role_target(self._directory, address)
            if not isinstance(role, api.EmailAddress):
                return role is not None
            address = role
        return any(end is not None for end in self._ends(address))

    def _waits(self, target: api.EmailAddress) -> bool:
        """Does it lead, through other aliases, to nobody but those who did not agree yet?

        Then the others get the mail meanwhile; what leads nowhere for other reasons is not for us to judge.
        """
        if self._directory.domain(target.domain) is None:
            return False
        ends = list(self._ends(target))
        return None in ends and not any(ends)

    def _ends(self, start: api.EmailAddress) -> Iterator[api.EmailAddress | None]:
        """Where mail for an address ends, through all aliases; None where somebody did not agree yet."""
        waiting, seen = [start], {start.key}
        while waiting:
            address = waiting.pop()
            targets, awaited = self._targets(address)
            if awaited:
                yield None
            elif not targets:
                yield address
            for target in targets:
                if target.key not in seen and len(seen) < _MAX_ADDRESSES:
                    seen.add(target.key)
                    waiting.append(target)

    def _targets(self, address: api.EmailAddress) -> tuple[Sequence[api.EmailAddress], bool]:
        """Those that may be used; and whether there are others, who did not agree yet."""
        match = api.find_address(self._directory, address)
        if isinstance(match, api.AliasMatch):
            awaited = {one.target.key for one in match.alias.pending if self.needs_consent(one.target)}
            targets = match.alias.targets
            return [target for target in targets if target.key not in awaited] if awaited else targets, bool(awaited)
        domain = self._directory.domain(address.domain)
        # postmaster and abuse have a place of their own, so that a catch-all cannot swallow them.
        if match is not None or domain is None or not domain.catch_all or api.is_role(address):
            return (), False
        target = api.EmailAddress.parse(domain.catch_all)
        if target.key == address.key:
            return (), False
        if self.needs_consent(target) and not api.agreed(self._directory, domain, api.CATCH_ALL, target):
            return (), True
        return (target,), False
