"""The IMAP server in this process, with real sockets at ports of its own; on the memory store, or on another."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mailserver.hooks.contexts import AuthenticateContext, Authenticated, Denied, ScramContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import Registry
from mailserver.imap.connection.protocol import ImapProtocol
from mailserver.imap.server import ImapServer
from mailserver.imap.settings import ImapSettings
from mailserver.model.events import Event
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.numset import NumSet
from mailserver.net.failures import LoginFailures
from mailserver.net.listener import ConnectionTable
from mailserver.net.login import LoginService
from mailserver.net.settings import AuthSettings, LimitsSettings, TlsSettings
from mailserver.net.tls import TlsContexts
from mailserver.ports.clock import SystemClock
from mailserver.ports.directory import Directory, ScramVerifier
from mailserver.ports.store import Target
from mailserver.storage.memory import MemoryStore
from tests.helpers.imap import AsyncImap
from tests.helpers.listeners import RunningListeners
from tests.helpers.waiting import soon

__all__ = ["ANNA", "DOMAIN", "PASSWORD", "ImapHarness", "until"]

DOMAIN = "example.test"
PASSWORD = "correct horse"
ANNA = AccountId(f"anna@{DOMAIN}")
ACCOUNTS = ("anna", "ben", "cleo")


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it is so."""
    await soon(condition, "it does not happen")


class ImapHarness:
    """`async with ImapHarness() as server`. Accounts anna, ben and cleo@example.test with `PASSWORD`.

    With `data_dir` there is TLS, by a certificate that is made there.
    """

    def __init__(
        self,
        *,
        imap: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        auth: dict[str, Any] | None = None,
        store: Any = None,
        data_dir: Path | None = None,
        tls: dict[str, Any] | None = None,
        max_message_size: int = 50 << 20,
        contributed: Sequence[Any] = (),
        directory: Directory | None = None,
    ) -> None:
        clock = SystemClock()
        self.limits = LimitsSettings(**(limits or {}))
        self.store = store or MemoryStore()
        self.events: list[Event] = []
        self.scram: dict[str, ScramVerifier] = {}
        self.registry = Registry()
        self.registry.event_sink(self.events.append)
        self.registry.authenticate(self._authenticate)
        self.registry.scram_verifier(self._scram_verifier)
        self.hooks = Hooks([self.registry])
        self.login = LoginService(
            self.hooks, AuthSettings(**(auth or {})), LoginFailures(self.limits, clock), b"s" * 32
        )
        self._settings = ImapSettings(
            **{"listen": ["127.0.0.1:0"], "listen_tls": ["127.0.0.1:0"] if data_dir else []} | (imap or {})
        )
        self._tls = TlsContexts(TlsSettings(**(tls or {})), data_dir, "localhost") if data_dir else None
        self._rest = (max_message_size, contributed, clock)
        self._directory = directory

    def _authenticate(self, ctx: AuthenticateContext) -> Authenticated | Denied | None:
        if ctx.user.partition("@")[0] not in ACCOUNTS:
            return None
        if ctx.password != PASSWORD:
            return Denied(reason="wrong")
        return Authenticated(account=AccountId(f"{ctx.user.partition('@')[0]}@{DOMAIN}"))

    def _scram_verifier(self, ctx: ScramContext) -> tuple[AccountId, ScramVerifier] | None:
        found = self.scram.get(ctx.user)
        return (AccountId(ctx.user), found) if found is not None else None

    async def __aenter__(self) -> Self:
        await self.hooks.swap([self.registry])
        max_message_size, contributed, clock = self._rest
        self.server = ImapServer(
            self._settings, self.limits, store=self.store, login=self.login, hooks=self.hooks,
            table=ConnectionTable(self.limits, clock), tls=self._tls, max_message_size=max_message_size,
            contributed=contributed, directory=self._directory,
        )  # fmt: skip
        self.listeners = self.server.listeners()
        self._running = RunningListeners(self.listeners)
        self.stopping = self._running.stopping
        await self._running.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.stop()
        await self.server.close()
        await self.hooks.aclose()

    def port(self, name: str = "imap") -> int:
        """The real port of imap or imaps."""
        return next(listener.bound[0][1] for listener in self.listeners if listener.name == name)

    @contextlib.asynccontextmanager
    async def client(
        self, user: str | None = "anna", *, select: str = "", enable: str = "", **arguments: Any
    ) -> AsyncIterator[AsyncImap]:
        """Connected; logged in unless `user` is None; perhaps with something enabled and a mailbox selected."""
        async with AsyncImap(self.port(), **arguments) as imap:
            if user is not None:
                await imap.ok(f'LOGIN "{user}" "{PASSWORD}"')
            if enable:
                await imap.ok(f"ENABLE {enable}")
            if select:
                await imap.ok(f"SELECT {select}")
            yield imap

    async def deliver(
        self, *messages: bytes, mailbox: str = "INBOX", account: AccountId = ANNA, flags: frozenset[str] = frozenset(),
        date: int | None = None,
    ) -> None:  # fmt: skip
        """Put messages into a mailbox, without IMAP."""
        await self.store.open_account(account)
        for message in messages:
            async with self.store.begin(len(message)) as content:
                await content.write(message)
                await self.store.commit_all(
                    account,
                    [(content, Target(account=account, mailbox=mailbox, flags=flags, date=date, into_new=False))],
                )

    async def flag(self, uids: str, how: FlagChange, *flags: str, mailbox: str = "INBOX") -> None:
        """Change flags as another session does; `uids` are numbers with commas."""
        opened = await self.store.open_account(ANNA)
        async with opened.open(mailbox) as box:
            await box.set_flags([int(uid) for uid in uids.split(",")], how, frozenset(flags))

    async def expunge(self, *uids: int, mailbox: str = "INBOX") -> NumSet:
        """Remove messages as another session does."""
        opened = await self.store.open_account(ANNA)
        async with opened.open(mailbox) as box:
            result: NumSet = await box.expunge(list(uids))
            return result

    @property
    def connections(self) -> list[ImapProtocol]:
        """The connections that are there."""
        return [one for listener in self.listeners for one in listener.connections if isinstance(one, ImapProtocol)]

    async def settled(self) -> None:
        """Wait until no connection is left."""
        await soon(lambda: not any(len(listener) for listener in self.listeners), "connections remain")
