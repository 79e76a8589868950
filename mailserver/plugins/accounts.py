"""The account directory as a plugin: logins, addresses of accounts with their sub-addresses, and the role addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mailserver import api

__all__ = ["plugin"]


class _Accounts:
    """The hooks; all look-ups are in memory."""

    def __init__(self, host: api.Host) -> None:
        self._directory = host.directory
        self._passwords = host.passwords
        self._renewing: set[api.AccountId] = set()

    async def authenticate(self, ctx: api.AuthenticateContext) -> api.Authenticated | api.Denied | None:
        """Users who do not exist, or may not log in, cost the hash that others cost."""
        account = self._user(ctx.user)
        try:
            if account is None:
                await self._passwords.verify_nobody(ctx.password)
                return None
            if not account.enabled:
                await self._passwords.verify_nobody(ctx.password)
                return api.Denied(reason="the account is disabled")
            if await self._is_app_password(account, ctx):
                return api.Authenticated(account=account.account)
            if await self._passwords.verify(account.account, account.password_hash, ctx.password):
                if self._passwords.outdated(account.password_hash):
                    await self._renew(account, ctx.password)
                return api.Authenticated(account=account.account)
        except api.LimitReached as error:
            return api.Denied(reason=error.text, temporary=True)
        return api.Denied(reason="wrong password")

    def certified(self, ctx: api.AuthenticateContext) -> api.Authenticated | api.Denied | None:
        """TLS has checked a certificate for this address."""
        account = self._user(ctx.user)
        if account is None or not account.enabled:
            return api.Denied(reason="no account for this certificate")
        return api.Authenticated(account=account.account)

    async def _is_app_password(self, account: api.Account, ctx: api.AuthenticateContext) -> bool:
        secret = api.AppPassword.secret_of(ctx.password) if account.app_passwords else None
        if secret is None:
            return False
        for one in account.app_passwords:
            if one.matches(secret) and (not one.protocols or ctx.session.service in one.protocols):
                with suppress(api.MailError):
                    await self._directory.used_app_password(account.account, one.name)
                return True
        return False

    async def _renew(self, account: api.Account, password: str) -> None:
        """A hash of former costs is made anew while the password is known; what fails is left to the next login."""
        if account.account in self._renewing:
            return
        self._renewing.add(account.account)
        try:
            stored, scram = await self._passwords.hash(password)
            await self._directory.renew_password(account.account, account.password_hash, stored, scram)
        except api.MailError:
            return
        finally:
            self._renewing.discard(account.account)

    def scram_verifier(self, ctx: api.ScramContext) -> tuple[api.AccountId, api.ScramVerifier] | None:
        """What SCRAM needs, of an account that may log in."""
        account = self._user(ctx.user)
        if account is None or not account.enabled or account.scram is None:
            return None
        return account.account, account.scram

    def _user(self, name: str) -> api.Account | None:
        """Users are called by the address of their account: no sub-address, no alias, no name without a domain."""
        try:
            return self._directory.account(api.EmailAddress.parse(name).key)
        except api.InvalidInput:
            return None

    def resolve(self, ctx: api.ResolveContext) -> api.Resolution | None:
        """Accounts, and the role addresses that are nobody's own or wait for him. Aliases are left to their plugin."""
        match = api.find_address(self._directory, ctx.address)
        if isinstance(match, api.AccountMatch):
            return api.Resolution(destinations=api.places_of(self._directory, match.account, match.detail))
        if not api.is_role(ctx.address) or api.leads_to_somebody(self._directory, ctx.address):
            return None
        target = api.role_target(self._directory, ctx.address)
        if target is None:
            return None
        if isinstance(target, api.EmailAddress):
            return api.Resolution(destinations=(api.Redirect(address=target),))
        return api.Resolution(destinations=api.places_of(self._directory, target))

    def sender_allowed(self, ctx: api.SenderContext) -> bool | None:
        """One's own address with any sub-address, and the role addresses that one gets."""
        match = api.find_address(self._directory, ctx.address)
        if isinstance(match, api.AccountMatch):
            return match.account.account == ctx.account
        if match is None and api.is_role(ctx.address):
            target = api.role_target(self._directory, ctx.address)
            if isinstance(target, api.Account) and target.account == ctx.account:
                return True
        return None


@asynccontextmanager
async def _setup(registry: api.Registry, settings: api.PluginSettings, host: api.Host) -> AsyncIterator[None]:
    accounts = _Accounts(host)
    registry.authenticate(accounts.authenticate)
    registry.authenticate(accounts.certified, mechanisms=("EXTERNAL",))
    registry.scram_verifier(accounts.scram_verifier)
    registry.resolve(accounts.resolve)
    registry.sender_allowed(accounts.sender_allowed)
    yield


plugin = api.Plugin(
    name="accounts",
    setup=_setup,
    doc="Logins and addresses of the accounts in accounts.db, with sub-addresses, postmaster and abuse.",
)
