"""The one function that constructs everything, in the order of who needs whom. Nothing is bound here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack

from mailserver import __version__
from mailserver.app.application import Application
from mailserver.app.checks import our_name
from mailserver.app.eventlog import log_event
from mailserver.app.gauges import add_gauges
from mailserver.app.health import Health
from mailserver.app.load import ConfigurationError, Loaded
from mailserver.app.metrics import Metrics
from mailserver.app.paths import state_dir, submit_socket
from mailserver.app.plugins import plugins_of, server_part
from mailserver.app.sending import OwnPorts, make_runner
from mailserver.hooks.dispatch import Hooks
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
from mailserver.net.systemd import InheritedSockets, Socket
from mailserver.net.tls import TlsContexts
from mailserver.net.web import HttpsClient
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.sender import Sender
from mailserver.outbound.smarthosts import Smarthosts
from mailserver.ports.clock import SystemClock
from mailserver.queue.disk import DiskQueue
from mailserver.smtp.service import SmtpService
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.maildir.store import MaildirStore

__all__ = ["LISTENERS", "build"]

#: Names of listeners: in logs, and as FileDescriptorName= of the .socket units.
LISTENERS = ("smtp", "submission", "submissions", "sendmail", "imap", "imaps", "http")


async def build(loaded: Loaded, stack: AsyncExitStack, inherited: InheritedSockets | None = None) -> Application:
    """Construct the server of a configuration; leaving `stack` takes it down, the last part first.

    Raises:
        ConfigurationError: with all problems of plugins, domains and certificates.
        MailError, OSError: the data directory cannot be used.
    """
    config, sockets = loaded.config, inherited or {}
    plugins_found, problems = plugins_of(loaded.document, config.plugin_order)
    clock = SystemClock()
    hostname = our_name(config.hostname)
    state = state_dir(loaded.data_dir)

    directory = SqliteDirectory(state / "accounts.db", config.domains, clock)
    stack.callback(directory.close)
    problems += [loaded.document.located(text) for text in directory.problems]
    if problems:
        raise ConfigurationError(problems)
    store = await stack.enter_async_context(
        MaildirStore(loaded.data_dir, config.storage, hostname, clock, directory.limits)
    )
    queue = await stack.enter_async_context(DiskQueue(state / "queue", config.queue, clock, store.faults))

    resolver = DnsResolver(Servers(config.dns, clock), clock)
    stack.push_async_callback(resolver.close)
    web = await stack.enter_async_context(
        HttpsClient(resolver, allow_private=config.queue.allow_private_addresses)
    )
    limits = config.limits
    passwords = Passwords(threads=limits.password_hashes, queue=limits.password_queue, scram=config.auth.scram)
    stack.callback(passwords.close)
    failures = LoginFailures(limits, clock)
    hooks = Hooks()
    metrics = Metrics(__version__)
    host = Host(
        hostname=hostname,
        data_dir=loaded.data_dir,
        directory=directory,
        store=store,
        queue=queue,
        clock=clock,
        passwords=passwords,
        failed_logins=failures,
        resolver=resolver,
        web=web,
        trusted=tuple(limits.trusted),
        emit=hooks.emit,
    )
    plugins = RunningPlugins(hooks, host)
    stack.push_async_callback(plugins.aclose)
    try:
        await plugins.start([server_part([log_event, metrics.observe]), *plugins_found])
    except PluginSetupFailed as error:
        raise ConfigurationError([loaded.document.problem(("plugins", error.plugin), str(error))]) from None

    tls = TlsContexts(config.tls, loaded.data_dir, hostname)
    table = ConnectionTable(limits, clock)
    logins = LoginService(hooks, config.auth, failures, directory.secret)
    directory.watch(logins.credentials_changed)
    space = DiskSpace(loaded.data_dir, clock)
    smtp = SmtpService(
        config.smtp, config.submission, limits, hooks, store, queue, logins, tls, table, hostname, directory, clock,
        inherited=sockets, space=space, sendmail=config.sendmail,
        path=submit_socket(loaded.data_dir, os.environ, config.sendmail.socket),
    )  # fmt: skip
    stack.callback(smtp.names.close)
    exchangers = Exchangers(
        resolver, port=config.queue.port, allow_private=config.queue.allow_private_addresses, own_names=[hostname],
        own=OwnPorts(smtp.listeners),
    )  # fmt: skip
    sender = Sender(config.sending, hooks, hostname, exchangers, Smarthosts(config.smarthosts))
    await stack.enter_async_context(sender)
    runner = make_runner(
        config, hooks=hooks, store=store, queue=queue, directory=directory, resolver=smtp.submission.parts.resolver,
        outbound=sender.deliver, hostname=hostname, clock=clock,
    )  # fmt: skip
    imap = ImapServer(
        config.imap,
        limits,
        store=store,
        login=logins,
        hooks=hooks,
        table=table,
        tls=tls,
        max_message_size=config.smtp.max_size,
        contributed=hooks.contributions("imap_command"),
        directory=directory,
    )
    stack.push_async_callback(imap.close)
    health = Health(space, clock)
    http = _http(loaded, hooks, metrics, health, table, sockets.get("http", ()))

    listeners = [*smtp.listeners, *imap.listeners(dict(sockets))]
    app = Application(
        loaded=loaded,
        hostname=hostname,
        clock=clock,
        directory=directory,
        store=store,
        queue=queue,
        resolver=resolver,
        exchangers=exchangers,
        sender=sender,
        runner=runner,
        passwords=passwords,
        failures=failures,
        logins=logins,
        hooks=hooks,
        plugins=plugins,
        tls=tls,
        table=table,
        smtp=smtp,
        imap=imap,
        http=http,
        metrics=metrics,
        health=health,
        listeners=listeners,
        services=[runner, *(contribution.value for contribution in hooks.contributions("service"))],
    )
    add_gauges(app)
    return app


def _http(
    loaded: Loaded,
    hooks: Hooks,
    metrics: Metrics,
    health: Health,
    table: ConnectionTable,
    inherited: Sequence[Socket],
) -> HttpService:
    settings = loaded.config.http
    routes: list[Routes] = [
        health_routes(health.live, health.ready),
        metrics_routes(metrics.render, settings.metrics_from),
        *(contribution.value for contribution in hooks.contributions("http_routes")),
    ]
    return HttpService(settings, routes, table, inherited, hooks)
