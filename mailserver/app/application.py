"""Everything that a running server consists of, by name: what operations, reload and the demo work with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mailserver.app.health import Health
from mailserver.app.load import Loaded
from mailserver.app.metrics import Metrics
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.running import RunningPlugins
from mailserver.http.server import HttpService
from mailserver.imap.server import ImapServer
from mailserver.model.ids import AccountId
from mailserver.net.connections import ConnectionTable
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.failures import LoginFailures
from mailserver.net.listener import Listener
from mailserver.net.login import LoginService
from mailserver.net.passwords import Passwords
from mailserver.net.settings import LimitsSettings
from mailserver.net.tls import TlsContexts
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.sender import Sender
from mailserver.ports.clock import Clock
from mailserver.ports.service import Service
from mailserver.queue.disk import DiskQueue
from mailserver.queue.runner import QueueRunner
from mailserver.smtp.service import SmtpService
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.maildir.names import account_path
from mailserver.storage.maildir.store import MaildirStore

__all__ = ["Application"]


@dataclass(slots=True, kw_only=True)
class Application:
    """The parts. `loaded` is replaced by a reload; everything else lives as long as the process."""

    loaded: Loaded
    hostname: str
    clock: Clock
    directory: SqliteDirectory
    store: MaildirStore
    queue: DiskQueue
    resolver: DnsResolver
    exchangers: Exchangers
    sender: Sender
    runner: QueueRunner
    passwords: Passwords
    failures: LoginFailures
    logins: LoginService
    hooks: Hooks
    plugins: RunningPlugins
    tls: TlsContexts
    table: ConnectionTable
    smtp: SmtpService
    imap: ImapServer
    http: HttpService
    metrics: Metrics
    health: Health
    listeners: list[Listener] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)

    def account_path(self, account: AccountId) -> Path:
        """The directory of an account's mail."""
        return self.loaded.data_dir / account_path(account)

    def apply_limits(self, limits: LimitsSettings) -> None:
        """Put other limits in place of the present ones."""
        self.table.update(limits)
        self.failures.update(limits)
        self.smtp.update(limits)
        self.imap.update(limits)

    def addresses(self) -> dict[str, list[tuple[str, int]]]:
        """Service → real addresses, once they are bound."""
        found = {listener.name: listener.bound for listener in self.listeners}
        return {**found, self.http.name: self.http.bound}
