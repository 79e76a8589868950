"""What commands ask for, as coroutines over JSON values: the same whether they come through the admin socket of the
running server or run in the command's own process under the data's lock.

An operation raises MailError or ValueError with words for the operator; everything else is a bug.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any

from mailserver.app.application import Application
from mailserver.app.handin import BodyReader, hand_in, hand_in_local
from mailserver.app.inspection import describe_hooks, describe_plugins
from mailserver.app.mailboxes import mailbox_operations
from mailserver.app.queueing import queue_operations
from mailserver.app.tls_policies import tls_policy_operations
from mailserver.app.trying import trial_operations
from mailserver.hooks.arguments import Arguments, account_named, moment, number, text, texts
from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.app_password import AppPassword
from mailserver.model.errors import MailError, NotPermitted
from mailserver.model.ids import AccountId
from mailserver.net.quota import enforce_limits, set_limits
from mailserver.ports.directory import CATCH_ALL, ROLE_MAIL, Account, Domain
from mailserver.wire.control import Request

__all__ = ["Operations"]


class Operations:
    """All operations over one application."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._table: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "account.add": self._account_add,
            "account.app_password.add": self._app_password_add,
            "account.app_password.list": self._app_password_list,
            "account.app_password.remove": self._app_password_remove,
            "account.list": self._account_list,
            "account.password": self._account_password,
            "account.quota": self._account_quota,
            "account.remove": self._account_remove,
            "domain.add": self._domain_add,
            "domain.list": self._domain_list,
            "domain.remove": self._domain_remove,
            "plugin.hooks": self._plugin_hooks,
            "plugin.list": self._plugin_list,
            **mailbox_operations(app),
            **queue_operations(app),
            **tls_policy_operations(app),
            **trial_operations(app),
        }

    async def __call__(self, request: Request, body: BodyReader) -> Any:
        """Run one. Raises ValueError for a command that this version does not know."""
        if request.command == "send":
            return await hand_in(
                self._app, text(request.arguments, "account"), texts(request.arguments, "recipients"), body,
                moment(request.arguments, "hold_until"),
            )  # fmt: skip
        if request.command == "sendmail":
            arguments = request.arguments
            return await hand_in_local(
                self._app, number(arguments, "uid"), text(arguments, "mail"), texts(arguments, "recipients"),
                texts(arguments, "arguments"), body,
            )  # fmt: skip
        operation = self._table.get(request.command) or self._contributed(request.command)
        if operation is None:
            raise ValueError(
                f"the server knows no command {request.command!r}: its plugin is switched off, or the server must be"
                " restarted after an upgrade"
            )
        return await operation(request.arguments)

    def _contributed(self, name: str) -> Callable[[Arguments], Awaitable[Any]] | None:
        """Looked up each time, since plugins come and go by a reload."""
        for contribution in self._app.hooks.contributions("operation"):
            if contribution.name == name:
                found: Callable[[Arguments], Awaitable[Any]] = contribution.value
                return found
        return None

    # accounts

    async def _account_add(self, arguments: Arguments) -> Any:
        address = EmailAddress.parse(text(arguments, "address"))
        self._served(address)
        stored, scram = await self._app.passwords.hash(text(arguments, "password"))
        account = Account(
            account=AccountId(address.key),
            address=address,
            password_hash=stored,
            scram=scram,
            octets_limit=number(arguments, "octets"),
            messages_limit=number(arguments, "messages"),
        )
        # Whoever had this address before may have been taken away half, or by hand: rights are not inherited.
        await self._app.store.revoke(account.account)
        await self._app.directory.add_account(account)
        await enforce_limits(self._app.directory, self._app.store, account.account)
        return {"address": str(address)}

    async def _account_list(self, arguments: Arguments) -> Any:
        return [_account_row(account) for account in self._app.directory.accounts()]

    async def _account_password(self, arguments: Arguments) -> Any:
        self._account(arguments)
        stored, scram = await self._app.passwords.hash(text(arguments, "password"))
        # As it is after the hashing: what else changed meanwhile stays.
        account = self._account(arguments)
        await self._app.directory.update_account(replace(account, password_hash=stored, scram=scram))
        return {"address": str(account.address)}

    async def _app_password_add(self, arguments: Arguments) -> Any:
        account = self._account(arguments)
        protocols = frozenset(texts(arguments, "protocols"))
        added, secret = AppPassword.make(text(arguments, "name"), protocols, self._app.clock.time())
        await self._app.directory.add_app_password(account.account, added)
        return {"address": str(account.address), "name": added.name, "password": secret}

    async def _app_password_list(self, arguments: Arguments) -> Any:
        return [
            {
                "name": one.name, "protocols": sorted(one.protocols), "created": one.created,
                "last_used": one.last_used,
            }
            for one in self._account(arguments).app_passwords
        ]  # fmt: skip

    async def _app_password_remove(self, arguments: Arguments) -> Any:
        account = self._account(arguments)
        await self._app.directory.remove_app_password(account.account, text(arguments, "name"))
        return {"address": str(account.address)}

    async def _account_quota(self, arguments: Arguments) -> Any:
        account = self._account(arguments)
        octets, messages = (
            None if arguments.get(name) is None else number(arguments, name) for name in ("octets", "messages")
        )
        if octets is None and messages is None:
            usage = await (await self._app.store.open_account(account.account)).quota()
        else:
            usage = await set_limits(self._app.directory, self._app.store, account.account, octets, messages)
        return {"address": str(account.address), **asdict(usage)}

    async def _account_remove(self, arguments: Arguments) -> Any:
        account = self._account(arguments)
        await self._app.directory.remove_account(account.account)
        # After it: nobody can give rights to an address that is nobody's.
        await self._app.store.revoke(account.account)
        if arguments.get("purge") is True:
            await self._app.store.remove_account(account.account)
        return {"address": str(account.address), "path": str(self._app.account_path(account.account))}

    # domains

    async def _domain_add(self, arguments: Arguments) -> Any:
        """A catch-all or postmaster elsewhere stands behind an alias, so that its owner is asked as for any other."""
        name = normalize_domain(text(arguments, "domain"))
        catch_all, postmaster = text(arguments, "catch_all"), text(arguments, "postmaster")
        outside = {
            str(EmailAddress(local, name)): written
            for local, written in ((CATCH_ALL, catch_all), (ROLE_MAIL, postmaster))
            if written and self._is_outside(EmailAddress.parse(written), name)
        }
        alias = str(EmailAddress(CATCH_ALL, name))
        domain = Domain(name=name, catch_all=alias if alias in outside else catch_all, postmaster=postmaster)
        await self._app.directory.add_domain(domain)
        try:
            asked = await self._ask(outside, confirmed=arguments.get("confirmed") is True)
        except MailError:
            await self._app.directory.remove_domain(name)
            raise
        return {"domain": name, "asked": asked}

    async def _ask(self, aliases: dict[str, str], *, confirmed: bool) -> list[Any]:
        """Add these aliases, each to an address elsewhere; whom that asks."""
        add_alias = self._contributed("alias.add")
        asked: list[Any] = []
        for address, target in aliases.items():
            if add_alias is None:
                raise NotPermitted("a catch-all or postmaster elsewhere needs the plugin aliases, which is off")
            done = await add_alias({"address": address, "targets": [target], "confirmed": confirmed})
            asked += done["asked"]
        return asked

    def _is_outside(self, address: EmailAddress, added: str) -> bool:
        return address.domain != added and self._app.directory.domain(address.domain) is None

    async def _domain_list(self, arguments: Arguments) -> Any:
        accounts = [account.address.domain for account in self._app.directory.accounts()]
        return [
            {
                "domain": domain.name,
                "accounts": accounts.count(domain.name),
                "catch_all": domain.catch_all,
                "postmaster": domain.postmaster,
                "from_config": domain.from_config,
            }
            for domain in self._app.directory.domains()
        ]

    async def _domain_remove(self, arguments: Arguments) -> Any:
        name = normalize_domain(text(arguments, "domain"))
        await self._app.directory.remove_domain(name)
        # Whom others forward to there is a stranger now.
        ask = self._contributed("alias.ask_outsiders")
        return {"domain": name, "asked": [] if ask is None else await ask({})}

    # plugins

    async def _plugin_list(self, arguments: Arguments) -> Any:
        return describe_plugins(self._app)

    async def _plugin_hooks(self, arguments: Arguments) -> Any:
        return describe_hooks(self._app)

    def _account(self, arguments: Arguments) -> Account:
        return account_named(self._app.directory, text(arguments, "address"))

    def _served(self, address: EmailAddress) -> None:
        if self._app.directory.domain(address.domain) is None:
            raise NotPermitted(
                f"{address.domain} is not served; serve it first: mailserver domain add {address.domain}"
            )


def _account_row(account: Account) -> dict[str, Any]:
    return {
        "address": str(account.address),
        "enabled": account.enabled,
        "octets_limit": account.octets_limit,
        "messages_limit": account.messages_limit,
        "scram": account.scram is not None,
        "created": account.created,
    }
