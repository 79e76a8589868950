"""The SMTP services in this process, on the memory store, with real sockets at ports of their own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mailserver.hooks.contexts import (
    AuthenticateContext,
    Authenticated,
    Denied,
    LocalMailbox,
    Redirect,
    Resolution,
    ResolveContext,
    ScramContext,
    SenderContext,
)
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import Registry
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope
from mailserver.model.events import Event
from mailserver.model.ids import AccountId, QueueId
from mailserver.net.failures import LoginFailures
from mailserver.net.listener import ConnectionTable
from mailserver.net.login import LoginService
from mailserver.net.settings import AuthSettings, LimitsSettings
from mailserver.net.space import DiskSpace
from mailserver.net.tls import TlsContexts
from mailserver.ports.clock import Clock, SystemClock
from mailserver.ports.directory import Domain, ScramVerifier
from mailserver.ports.store import ReadableContent
from mailserver.smtp.service import SmtpService
from mailserver.smtp.settings import SendmailSettings, SmtpSettings, SubmissionSettings
from mailserver.storage.memory import MemoryStore
from tests.helpers.listeners import RunningListeners
from tests.helpers.smtp import AsyncSmtp
from tests.helpers.waiting import soon

__all__ = ["DOMAIN", "PASSWORD", "Injected", "MemoryQueue", "SmtpHarness"]

DOMAIN = "example.test"
PASSWORD = "correct horse"
ACCOUNTS = ("anna", "ben", "cleo")


@dataclass(frozen=True, slots=True)
class Injected:
    queue_id: QueueId
    envelope: Envelope
    message: bytes


@dataclass(slots=True)
class MemoryQueue:
    """`ports.queue.MailQueue` in memory; `failure` is raised by the next injections."""

    items: list[Injected] = field(default_factory=list)
    failure: Exception | None = None

    async def inject(
        self, queue_id: QueueId, envelope: Envelope, content: ReadableContent, header: bytes = b""
    ) -> None:
        if self.failure is not None:
            raise self.failure
        self.items.append(Injected(queue_id, envelope, header + await content.read(0, content.size)))

    def held_for(self, account: AccountId) -> int:
        return sum(i.envelope.account == account and i.envelope.hold_until is not None for i in self.items)

    async def list(self) -> list[Any]:
        return []


class _Directory:
    """The domain that is served; `aliases` are local part → addresses."""

    def domain(self, name: str) -> Domain | None:
        return Domain(name=DOMAIN) if name == DOMAIN else None

    def domains(self) -> list[Domain]:
        return [Domain(name=DOMAIN)]


class SmtpHarness:
    """`async with SmtpHarness() as server`. Accounts anna, ben and cleo@example.test with `PASSWORD`.

    With `path`, a Unix socket for programs on this machine is there (`client("sendmail")`).
    `server.aliases["list"] = ["anna@example.test", "x@far.test"]`; `server.registry` takes hooks before entering.
    """

    def __init__(
        self,
        *,
        limits: dict[str, Any] | None = None,
        smtp: dict[str, Any] | None = None,
        submission: dict[str, Any] | None = None,
        sendmail: dict[str, Any] | None = None,
        path: Path | None = None,
        auth: dict[str, Any] | None = None,
        tls: TlsContexts | None = None,
        store: Any = None,
        clock: Clock | None = None,
        space: DiskSpace | None = None,
        hostname: str = f"mail.{DOMAIN}",
    ) -> None:
        clock = clock or SystemClock()
        relaxed: dict[str, Any] = {"trusted": [], "unknown_recipient_delay": 0}
        self.limits = LimitsSettings(**relaxed | (limits or {}))
        self.store = store or MemoryStore()
        self.queue = MemoryQueue()
        self.events: list[Event] = []
        self.aliases: dict[str, list[str]] = {"postmaster": [f"anna@{DOMAIN}"], "abuse": [f"anna@{DOMAIN}"]}
        #: Local part of an account → where it forwards to, and whether it keeps a copy.
        self.forwards: dict[str, tuple[list[str], bool]] = {}
        self.scram: dict[str, ScramVerifier] = {}
        self.registry = Registry()
        self.table = ConnectionTable(self.limits, clock)
        self._registered()
        self.hooks = Hooks([self.registry])
        self.login = LoginService(
            self.hooks, AuthSettings(**(auth or {})), LoginFailures(self.limits, clock), b"s" * 32
        )
        self._arguments = (
            SmtpSettings(**{"listen": ["127.0.0.1:0"]} | (smtp or {})),
            SubmissionSettings(**{"listen": ["127.0.0.1:0"], "listen_tls": ["127.0.0.1:0"]} | (submission or {})),
        )
        self._rest = (tls, hostname, clock)
        self._sendmail = SendmailSettings(**(sendmail or {}))
        self._path = path
        self._space = space

    def _registered(self) -> None:
        registry = self.registry
        registry.event_sinks.append(self.events.append)
        registry.resolve(self._resolve)
        registry.authenticate(self._authenticate)
        registry.scram_verifier(self._scram_verifier)
        registry.sender_allowed(self._sender_allowed)

    def _resolve(self, ctx: ResolveContext) -> Resolution | None:
        local, _, detail = ctx.address.local.lower().partition("+")
        if local in ACCOUNTS:
            targets, keep = self.forwards.get(local, ([], True))
            forward = tuple(EmailAddress.parse(target) for target in targets)
            account = AccountId(f"{local}@{DOMAIN}")
            place = LocalMailbox(account=account, detail=detail, forward=forward, keep=keep)
            return Resolution(destinations=(place,))
        if local not in self.aliases:
            return None
        others = (EmailAddress.parse(target) for target in self.aliases[local])
        return Resolution(destinations=tuple(Redirect(address=other) for other in others))

    def _authenticate(self, ctx: AuthenticateContext) -> Authenticated | Denied | None:
        if ctx.user.partition("@")[0] not in ACCOUNTS:
            return None
        return Authenticated(account=AccountId(ctx.user)) if ctx.password == PASSWORD else Denied(reason="wrong")

    def _scram_verifier(self, ctx: ScramContext) -> tuple[AccountId, ScramVerifier] | None:
        found = self.scram.get(ctx.user)
        return (AccountId(ctx.user), found) if found is not None else None

    def _sender_allowed(self, ctx: SenderContext) -> bool:
        local = ctx.address.local.partition("+")[0]
        return ctx.account == f"{local}@{ctx.address.domain}" or f"{ctx.account}" in self.aliases.get(local, ())

    async def __aenter__(self) -> Self:
        self.hooks = self.hooks
        await self.hooks.swap([self.registry])
        tls, hostname, clock = self._rest
        self.service = SmtpService(
            *self._arguments, self.limits, self.hooks, self.store, self.queue, self.login, tls, self.table, hostname,
            _Directory(), clock, space=self._space,  # type: ignore[arg-type]
            sendmail=self._sendmail, path=self._path,
        )  # fmt: skip
        self._running = RunningListeners(self.service.listeners)
        self.stopping = self._running.stopping
        await self._running.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.stop()
        self.service.names.close()
        await self.hooks.aclose()

    def port(self, name: str = "smtp") -> int:
        """The real port of smtp, submission or submissions."""
        return next(listener.bound[0][1] for listener in self.service.listeners if listener.name == name)

    @contextlib.asynccontextmanager
    async def client(self, name: str = "smtp", **arguments: Any) -> AsyncIterator[AsyncSmtp]:
        """Connected and greeted."""
        where = self._path if name == "sendmail" and self._path is not None else self.port(name)
        async with AsyncSmtp(where, **arguments) as smtp:
            yield smtp

    async def mail(self, account: str = "anna", mailbox: str = "INBOX") -> list[bytes]:
        """The messages of a mailbox."""
        opened = await self.store.open_account(AccountId(f"{account}@{DOMAIN}"))
        if mailbox not in {info.name for info in await opened.list_mailboxes()}:
            return []
        async with opened.open(mailbox) as box:
            return [await box.read(uid) for uid in box.table.uids]

    async def count(self) -> int:
        """Messages of all accounts in INBOX, and items in the queue."""
        return sum([len(await self.mail(account)) for account in ACCOUNTS]) + len(self.queue.items)

    async def settled(self) -> None:
        """Wait until no connection is left."""
        await soon(lambda: not any(len(listener) for listener in self.service.listeners), "connections remain")
