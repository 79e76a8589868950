"""The SMTP services: port 25, submission with STARTTLS or TLS, programs on this machine; and their timer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mailserver.hooks.dispatch import Hooks
from mailserver.net.listener import ConnectionTable, Listener
from mailserver.net.login import LoginService
from mailserver.net.settings import LimitsSettings
from mailserver.net.space import DiskSpace
from mailserver.net.tls import TlsContexts
from mailserver.net.users import UserNames
from mailserver.ports.clock import Clock, SystemClock
from mailserver.ports.directory import Directory
from mailserver.ports.queue import MailQueue
from mailserver.ports.store import MailStore
from mailserver.smtp.ingress import Ingress
from mailserver.smtp.keeping import Keeper
from mailserver.smtp.local import LocalSubmission
from mailserver.smtp.local_users import LocalUsers
from mailserver.smtp.pipeline import Pipeline
from mailserver.smtp.receiver import Parts, Receiver
from mailserver.smtp.resolving import Resolver
from mailserver.smtp.server import SmtpConnection
from mailserver.smtp.settings import SendmailSettings, SmtpSettings, SubmissionSettings
from mailserver.smtp.submission import Submission

__all__ = ["SmtpService"]

_TICK = 1.0
_ALPN = ("smtp",)


class SmtpService:
    """`listeners` are the services to run; `inherited` sockets go by the names smtp, submission, submissions, sendmail.

    `path` is the Unix socket for programs on this machine (None: an inherited one only).
    """

    def __init__(
        self,
        settings: SmtpSettings,
        submission_settings: SubmissionSettings,
        limits: LimitsSettings,
        hooks: Hooks,
        store: MailStore,
        queue: MailQueue,
        login: LoginService,
        tls: TlsContexts | None,
        table: ConnectionTable,
        hostname: str,
        directory: Directory,
        clock: Clock | None = None,
        *,
        inherited: Mapping[str, Sequence[socket.socket]] | None = None,
        space: DiskSpace | None = None,
        sendmail: SendmailSettings | None = None,
        path: Path | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._limits = limits
        self._table = table
        self._inherited = inherited or {}
        self._timer: asyncio.TimerHandle | None = None
        parts = Parts(
            hostname=hostname, limits=limits, hooks=hooks, store=store, login=login, max_size=settings.max_size,
            resolver=Resolver(hooks, directory, store, hostname),
            pipeline=Pipeline(
                hooks, store, Keeper(hooks, store, queue, directory), hostname, clock,
                hide_users=submission_settings.hide_client_address,
            ),
            space=space,
        )  # fmt: skip
        ingress, submission = Ingress(parts, settings), Submission(parts, submission_settings, queue, clock)
        self.names = UserNames(clock)
        sendmail = sendmail or SendmailSettings()
        users = LocalUsers(sendmail, directory, parts.resolver, self.names, hostname)
        #: Also for what is submitted without SMTP.
        self.submission = submission
        self.local = LocalSubmission(parts, sendmail, submission_settings, users, queue, clock)
        self._ingress = ingress
        self.listeners: list[Listener] = []
        self._listen(settings, submission_settings, tls)
        if sendmail.enabled:
            self._add("sendmail", (), (), self.local, path=path)

    def _listen(
        self, settings: SmtpSettings, submission_settings: SubmissionSettings, tls: TlsContexts | None
    ) -> None:
        def context(name: str, alpn: Sequence[str]) -> ssl.SSLContext | None:
            return tls.context(name, alpn) if tls is not None else None

        self._add("smtp", settings.listen, settings.proxy_from, self._ingress, starttls=context("smtp", _ALPN))
        self._add(
            "submission", submission_settings.listen, submission_settings.proxy_from, self.submission,
            starttls=context("submission", _ALPN),
        )  # fmt: skip
        if tls is not None:
            self._add(
                "submissions", submission_settings.listen_tls, submission_settings.proxy_from, self.submission,
                implicit=context("submissions", _ALPN),
            )  # fmt: skip

    def update(self, limits: LimitsSettings) -> None:
        """Other limits for what comes from now on."""
        for receiver in (self._ingress, self.submission, self.local):
            receiver.parts = replace(receiver.parts, limits=limits)

    def _add(
        self,
        name: str,
        addresses: Sequence[str],
        proxies: Sequence[str],
        receiver: Receiver,
        *,
        starttls: ssl.SSLContext | None = None,
        implicit: ssl.SSLContext | None = None,
        path: Path | None = None,
    ) -> None:
        sockets = self._inherited.get(name, ())
        if addresses or sockets or path is not None:
            self.listeners.append(
                Listener(
                    name, addresses, self._factory(receiver, starttls), tls=implicit, inherited=sockets,
                    table=self._table, drain=self._limits.drain, proxy_from=proxies,
                    handshake_timeout=self._limits.tls_handshake, path=path,
                )
            )  # fmt: skip

    def _factory(
        self, receiver: Receiver, starttls: ssl.SSLContext | None
    ) -> Callable[[Listener], asyncio.BaseProtocol]:
        def make(listener: Listener) -> asyncio.BaseProtocol:
            connection = SmtpConnection(receiver, listener, starttls, asyncio.get_running_loop())
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)
            return connection

        return make

    def _tick(self) -> None:
        """Look at the deadlines of all connections, once a second while there are any."""
        loop = asyncio.get_running_loop()
        self.tick(loop.time())
        busy = any(len(listener) for listener in self.listeners)
        self._timer = loop.call_later(_TICK, self._tick) if busy else None

    def tick(self, now: float) -> None:
        """Enforce the deadlines of all connections as of `now` (loop time)."""
        for listener in self.listeners:
            for connection in listener.connections:
                if isinstance(connection, SmtpConnection):
                    connection.tick(now)
