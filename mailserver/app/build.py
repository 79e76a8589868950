"""The one function that constructs everything, in the order of who needs whom. Nothing is bound here.

    data ─▶ network ─▶ logins' secrets ─▶ plugins ─▶ admission ─▶ SMTP in ─▶ mail out ─▶ IMAP ─▶ HTTP
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from mailserver import __version__
from mailserver.app.application import Application
from mailserver.app.checks import our_name
from mailserver.app.eventlog import log_event
from mailserver.app.gauges import add_gauges
from mailserver.app.health import Health
from mailserver.app.load import ConfigurationError, Loaded, Problem
from mailserver.app.metrics import Metrics
from mailserver.app.paths import state_dir, submit_socket
from mailserver.app.plugins import plugins_of, server_part
from mailserver.app.sending import OwnPorts, make_runner
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.loading import LoadedPlugin
from mailserver.hooks.plugin import Host
from mailserver.hooks.running import PluginSetupFailed, RunningPlugins
from mailserver.http.health import health_routes, metrics_routes
from mailserver.http.server import HttpService, Routes
from mailserver.imap.server import ImapServer
from mailserver.net.connections import ConnectionTable
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.failures import LoginFailures
from mailserver.net.login import LoginService
from mailserver.net.passwords import Passwords
from mailserver.net.space import DiskSpace
from mailserver.net.systemd import InheritedSockets
from mailserver.net.tls import TlsContexts
from mailserver.net.web import HttpsClient
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.sender import Sender
from mailserver.outbound.smarthosts import Smarthosts
from mailserver.ports.clock import SystemClock
from mailserver.queue.disk import DiskQueue
from mailserver.queue.runner import QueueRunner
from mailserver.smtp.service import SmtpService
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.maildir.store import MaildirStore

__all__ = ["LISTENERS", "build"]

#: Names of listeners: in logs, and as FileDescriptorName= of the .socket units.
LISTENERS = ("smtp", "submission", "submissions", "sendmail", "imap", "imaps", "http")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What every step knows. Leaving `stack` takes down what the steps entered into it, the last one first."""

    loaded: Loaded
    stack: AsyncExitStack
    inherited: InheritedSockets
    hostname: str
    clock: SystemClock


@dataclass(frozen=True, slots=True)
class _Data:
    directory: SqliteDirectory
    store: MaildirStore
    queue: DiskQueue


@dataclass(frozen=True, slots=True)
class _Network:
    resolver: DnsResolver
    web: HttpsClient


@dataclass(frozen=True, slots=True)
class _Secrets:
    passwords: Passwords
    failures: LoginFailures


@dataclass(frozen=True, slots=True)
class _Plugins:
    hooks: Hooks
    running: RunningPlugins
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class _Admission:
    """Who may connect, by what TLS, as whom, and whether there is room for what he brings."""

    tls: TlsContexts
    table: ConnectionTable
    logins: LoginService
    space: DiskSpace


@dataclass(frozen=True, slots=True)
class _Outgoing:
    exchangers: Exchangers
    sender: Sender
    runner: QueueRunner


async def build(loaded: Loaded, stack: AsyncExitStack, inherited: InheritedSockets | None = None) -> Application:
    """Construct the server of a configuration; leaving `stack` takes it down, the last part first.

    Raises:
        ConfigurationError: with all problems of plugins, domains and certificates.
        MailError, OSError: the data directory cannot be used.
    """
    hostname = our_name(loaded.config.hostname)
    site = _Site(loaded=loaded, stack=stack, inherited=inherited or {}, hostname=hostname, clock=SystemClock())
    chosen, problems = plugins_of(loaded.document, loaded.config.plugin_order)
    data = await _data(site, problems)
    network = await _network(site)
    secrets = _secrets(site)
    plugins = await _plugins(site, chosen, data, network, secrets)
    hooks = plugins.hooks
    admission = _admission(site, data, secrets, hooks)
    smtp = _smtp(site, data, hooks, admission)
    outgoing = await _outgoing(site, data, network, hooks, smtp)
    imap = _imap(site, data, hooks, admission)
    health = Health(admission.space, site.clock)
    http = _http(site, plugins, admission, health)
    app = Application(
        loaded=loaded, hostname=hostname, clock=site.clock, directory=data.directory, store=data.store,
        queue=data.queue, resolver=network.resolver, exchangers=outgoing.exchangers, sender=outgoing.sender,
        runner=outgoing.runner, passwords=secrets.passwords, failures=secrets.failures, logins=admission.logins,
        hooks=hooks, plugins=plugins.running, tls=admission.tls, table=admission.table, smtp=smtp, imap=imap, http=http,
        metrics=plugins.metrics, health=health, listeners=[*smtp.listeners, *imap.listeners(dict(site.inherited))],
        services=[outgoing.runner, *(contribution.value for contribution in hooks.contributions("service"))],
    )  # fmt: skip
    add_gauges(app)
    return app


async def _data(site: _Site, problems: list[Problem]) -> _Data:
    """Raises ConfigurationError: for `problems`, and those between the configuration and the directory."""
    config, stack, state = site.loaded.config, site.stack, state_dir(site.loaded.data_dir)
    directory = SqliteDirectory(state / "accounts.db", config.domains, site.clock)
    stack.callback(directory.close)
    problems = problems + [site.loaded.document.located(text) for text in directory.problems]
    if problems:
        raise ConfigurationError(problems)
    store = await stack.enter_async_context(
        MaildirStore(site.loaded.data_dir, config.storage, site.hostname, site.clock, directory.limits)
    )
    queue = await stack.enter_async_context(DiskQueue(state / "queue", config.queue, site.clock, store.faults))
    return _Data(directory, store, queue)


async def _network(site: _Site) -> _Network:
    config = site.loaded.config
    resolver = DnsResolver(Servers(config.dns, site.clock), site.clock)
    site.stack.push_async_callback(resolver.close)
    web = await site.stack.enter_async_context(
        HttpsClient(resolver, allow_private=config.queue.allow_private_addresses)
    )
    return _Network(resolver, web)


def _secrets(site: _Site) -> _Secrets:
    limits, scram = site.loaded.config.limits, site.loaded.config.auth.scram
    passwords = Passwords(threads=limits.password_hashes, queue=limits.password_queue, scram=scram)
    site.stack.callback(passwords.close)
    return _Secrets(passwords, LoginFailures(limits, site.clock))


async def _plugins(
    site: _Site, chosen: Sequence[LoadedPlugin], data: _Data, network: _Network, secrets: _Secrets
) -> _Plugins:
    """Raises ConfigurationError."""
    loaded, hooks, metrics = site.loaded, Hooks(), Metrics(__version__)
    host = Host(
        hostname=site.hostname, data_dir=loaded.data_dir, directory=data.directory, store=data.store, queue=data.queue,
        clock=site.clock, passwords=secrets.passwords, failed_logins=secrets.failures, resolver=network.resolver,
        web=network.web, trusted=tuple(loaded.config.limits.trusted), emit=hooks.emit,
    )  # fmt: skip
    running = RunningPlugins(hooks, host)
    site.stack.push_async_callback(running.aclose)
    try:
        await running.start([server_part([log_event, metrics.observe]), *chosen])
    except PluginSetupFailed as error:
        raise ConfigurationError([loaded.document.problem(("plugins", error.plugin), str(error))]) from None
    return _Plugins(hooks, running, metrics)


def _admission(site: _Site, data: _Data, secrets: _Secrets, hooks: Hooks) -> _Admission:
    """Raises ConfigurationError: of certificates."""
    config = site.loaded.config
    tls = TlsContexts(config.tls, site.loaded.data_dir, site.hostname)
    table = ConnectionTable(config.limits, site.clock)
    logins = LoginService(hooks, config.auth, secrets.failures, data.directory.secret)
    data.directory.watch(logins.credentials_changed)
    return _Admission(tls, table, logins, DiskSpace(site.loaded.data_dir, site.clock))


def _smtp(site: _Site, data: _Data, hooks: Hooks, admission: _Admission) -> SmtpService:
    config = site.loaded.config
    smtp = SmtpService(
        config.smtp, config.submission, config.limits, hooks, data.store, data.queue, admission.logins, admission.tls,
        admission.table, site.hostname, data.directory, site.clock, inherited=site.inherited, space=admission.space,
        sendmail=config.sendmail, path=submit_socket(site.loaded.data_dir, os.environ, config.sendmail.socket),
    )  # fmt: skip
    site.stack.callback(smtp.names.close)
    return smtp


async def _outgoing(site: _Site, data: _Data, network: _Network, hooks: Hooks, smtp: SmtpService) -> _Outgoing:
    config = site.loaded.config
    exchangers = Exchangers(
        network.resolver, port=config.queue.port, allow_private=config.queue.allow_private_addresses,
        own_names=[site.hostname], own=OwnPorts(smtp.listeners),
    )  # fmt: skip
    sender = Sender(config.sending, hooks, site.hostname, exchangers, Smarthosts(config.smarthosts))
    await site.stack.enter_async_context(sender)
    runner = make_runner(
        config, hooks=hooks, store=data.store, queue=data.queue, directory=data.directory,
        resolver=smtp.submission.parts.resolver, outbound=sender.deliver, hostname=site.hostname, clock=site.clock,
    )  # fmt: skip
    return _Outgoing(exchangers, sender, runner)


def _imap(site: _Site, data: _Data, hooks: Hooks, admission: _Admission) -> ImapServer:
    config = site.loaded.config
    imap = ImapServer(
        config.imap, config.limits, store=data.store, login=admission.logins, hooks=hooks, table=admission.table,
        tls=admission.tls, max_message_size=config.smtp.max_size, contributed=hooks.contributions("imap_command"),
        directory=data.directory,
    )  # fmt: skip
    site.stack.push_async_callback(imap.close)
    return imap


def _http(site: _Site, plugins: _Plugins, admission: _Admission, health: Health) -> HttpService:
    settings, hooks = site.loaded.config.http, plugins.hooks
    routes: list[Routes] = [
        health_routes(health.live, health.ready),
        metrics_routes(plugins.metrics.render, settings.metrics_from),
        *(contribution.value for contribution in hooks.contributions("http_routes")),
    ]
    return HttpService(settings, routes, admission.table, site.inherited.get("http", ()), hooks)
