"""Plugins under test: a host for them, and the built-in ones running over a directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mailserver.hooks.contexts import Session
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.loading import read_plugins
from mailserver.hooks.plugin import Host
from mailserver.hooks.running import RunningPlugins
from mailserver.model.address import EmailAddress
from mailserver.model.events import Event
from mailserver.model.ids import AccountId, SessionId
from mailserver.net.failures import LoginFailures
from mailserver.net.login import LoginService
from mailserver.net.passwords import Passwords
from mailserver.net.settings import AuthSettings, LimitsSettings
from mailserver.plugins import BUILT_IN
from mailserver.ports.directory import Account, ScramVerifier
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from mailserver.storage.memory import MemoryStore
from tests.helpers.clock import FakeClock
from tests.helpers.names import FakeResolver
from tests.helpers.smtp_service import MemoryQueue

__all__ = ["Server", "alone", "make_host", "make_session", "running"]


_HASHED: dict[tuple[str, bool], tuple[str, ScramVerifier | None]] = {}


def alone(*names: str, **settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sections in which only these built-in plugins are used, with their settings."""
    return {name: {"enabled": False} for name in BUILT_IN if name not in {*names, *settings}} | dict(settings)


def make_session(peer: str = "192.0.2.7", service: str = "smtp", **fields: Any) -> Session:
    """A connection of a stranger, unless `fields` say otherwise."""
    return Session(session=SessionId("s1"), service=service, peer=peer, **fields)


def make_host(**fields: Any) -> Host:
    """A host; what a test does not name is None."""
    given: dict[str, Any] = {
        "hostname": "mail.example.test", "data_dir": Path("/nonexistent"), "directory": None, "store": None,
        "queue": None, "clock": FakeClock(), "passwords": None, "failed_logins": None,
        "resolver": None, "web": None,
    }  # fmt: skip
    return Host(**(given | fields))


class Server:
    """What logins and addresses need, without any service: directory, passwords, hooks, LoginService."""

    def __init__(
        self, tmp_path: Path, domains: Mapping[str, DomainSettings], limits: LimitsSettings, scram: bool
    ) -> None:
        self.scram = scram
        self.clock = FakeClock()
        self.directory = SqliteDirectory(tmp_path / "accounts.db", domains, self.clock)
        self.passwords = Passwords(scram=scram)
        self.failures = LoginFailures(limits, self.clock)
        self.hooks = Hooks()
        self.resolver = FakeResolver()
        self.store = MemoryStore()
        self.queue = MemoryQueue()
        #: Called with each event that a plugin emits.
        self.told: list[Callable[[Event], None]] = []
        self.login = LoginService(self.hooks, AuthSettings(scram=scram), self.failures, self.directory.secret)
        self.directory.watch(self.login.credentials_changed)
        self.host = make_host(
            directory=self.directory, passwords=self.passwords, failed_logins=self.failures, clock=self.clock,
            data_dir=tmp_path, trusted=tuple(limits.trusted), emit=self._emit,
            resolver=self.resolver, store=self.store, queue=self.queue,
        )  # fmt: skip

    def _emit(self, event: Event) -> None:
        for listener in self.told:
            listener(event)
        self.hooks.emit(event)

    async def add(self, address: str, password: str = "", **fields: Any) -> AccountId:
        """Make an account; "" is no password."""
        parsed = EmailAddress.parse(address)
        argon2id, scram = await self._hash(password) if password else ("", None)
        account = AccountId(parsed.key)
        self.clock.advance(1)
        await self.directory.add_account(
            Account(account=account, address=parsed, password_hash=argon2id, scram=scram, **fields)
        )
        return account


    async def _hash(self, password: str) -> tuple[str, ScramVerifier | None]:
        """Computed once per password and test run; half of each test's time otherwise."""
        key = (password, self.scram)
        if key not in _HASHED:
            _HASHED[key] = await self.passwords.hash(password)
        return _HASHED[key]


@asynccontextmanager
async def running(
    tmp_path: Path,
    *,
    domains: Mapping[str, DomainSettings] | None = None,
    limits: LimitsSettings | None = None,
    sections: Mapping[str, Any] | None = None,
    scram: bool = True,
    order: tuple[str, ...] = ("rate_limit", "accounts", "aliases"),
) -> AsyncIterator[Server]:
    """The built-in plugins over a directory with the domain example.test; nobody is trusted."""
    server = Server(
        tmp_path, domains or {"example.test": DomainSettings()}, limits or LimitsSettings(trusted=[]), scram
    )
    loaded, problems = read_plugins(sections or {}, order, BUILT_IN, tmp_path)
    assert not problems
    plugins = RunningPlugins(server.hooks, server.host)
    await plugins.start(loaded)
    try:
        yield server
    finally:
        await plugins.aclose()
        server.passwords.close()
        server.directory.close()
