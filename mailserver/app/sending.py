"""Where the mail of the queue goes, and who takes it there: our own mailboxes, or other servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from mailserver.app.config import Config
from mailserver.hooks.calling import HookFailed
from mailserver.hooks.contexts import RouteContext
from mailserver.hooks.dispatch import Hooks
from mailserver.model.delivery import Destination, Outcome, Result
from mailserver.model.envelope import Envelope, Recipient
from mailserver.net.listener import Listener
from mailserver.net.routes import is_local
from mailserver.outbound.dsn.writer import DsnWriter
from mailserver.outbound.smarthosts import Smarthosts
from mailserver.ports.clock import Clock
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.ports.directory import Directory
from mailserver.ports.store import MailStore
from mailserver.queue.disk import DiskQueue
from mailserver.queue.runner import QueueRunner
from mailserver.smtp.queued import QueuedDelivery
from mailserver.smtp.resolving import Resolver as AddressResolver

__all__ = ["LOCAL", "MailDeliverer", "OwnPorts", "make_runner"]

LOCAL = Destination(name="local", local=True)
_NO_ROUTE = Result(outcome=Outcome.DEFERRED, status="4.3.5", reply="A plugin that knows the way has failed")


class MailDeliverer:
    """`ports.delivery.Deliverer`: recipients in domains that we serve go to `local`, all others to `outbound`.

    Where others go: what a `route` hook says, the sender's smarthost, `queue.relay`, the domain's MX; always from the
    addresses that are set for the sender's domain.
    """

    def __init__(
        self,
        hooks: Hooks,
        directory: Directory,
        config: Config,
        *,
        local: Callable[[Job], Awaitable[DeliveryReport]],
        outbound: Callable[[Job], Awaitable[DeliveryReport]],
    ) -> None:
        self._hooks = hooks
        self._directory = directory
        self._local = local
        self._outbound = outbound
        self._sources = {domain: tuple(found) for domain, found in config.sending.source_addresses.items()}
        self._smarthosts = Smarthosts(config.smarthosts)
        self._relay = _relay(config.queue.relay) if config.queue.relay else None

    async def destination(self, envelope: Envelope, recipient: Recipient) -> Destination | Result:
        """Where a recipient's mail goes. Never raises."""
        domain = recipient.address.domain
        if self._directory.domain(domain) is not None:
            return LOCAL
        try:
            route = await self._hooks.route(RouteContext(sender=envelope.sender, recipient=recipient.address))
        except HookFailed:
            return _NO_ROUTE
        if route is not None and route.hosts:
            found = Destination(name=_shown(*route.hosts[0]), hosts=route.hosts)
        else:
            ours = envelope.account is not None or envelope.own
            smarthost = self._smarthosts.for_sender(envelope.sender, ours=ours)
            found = smarthost or self._relay or Destination(name=domain)
        own = "" if envelope.sender is None else envelope.sender.domain
        source = self._sources.get(own) or self._sources.get("*")
        return replace(found, source=source) if source else found

    async def deliver(self, job: Job) -> DeliveryReport:
        """Make one attempt. Never raises."""
        return await (self._local if job.destination.local else self._outbound)(job)


def _relay(text: str) -> Destination:
    host, _, port = text.rpartition(":")
    return Destination(name=text, hosts=((host.strip("[]"), int(port)),))


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class OwnPorts:
    """`outbound.exchangers.OwnAddress`: would a connection to this address and port reach our own SMTP service?"""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def __call__(self, address: str, port: int) -> bool:
        """`address` is an IP literal."""
        ports = {bound for one in self._listeners if one.name == "smtp" for _, bound in one.bound}
        return port in ports and is_local(address)


def make_runner(
    config: Config,
    *,
    hooks: Hooks,
    store: MailStore,
    queue: DiskQueue,
    directory: Directory,
    resolver: AddressResolver,
    outbound: Callable[[Job], Awaitable[DeliveryReport]],
    hostname: str,
    clock: Clock,
) -> QueueRunner:
    """The service that sends what is in the queue, by `outbound` or into our mailboxes."""
    local = QueuedDelivery(hooks=hooks, store=store, queue=queue, directory=directory, resolver=resolver)
    deliverer = MailDeliverer(hooks, directory, config, local=local.deliver, outbound=outbound)
    reports = DsnWriter(hostname=hostname, home=resolver.home)
    return QueueRunner(queue, deliverer, reports, config.queue, clock, hooks.emit)
