"""Gives messages to other servers: `deliver` of `ports.delivery.Deliverer`, for destinations that are not local.

An attempt in its order: the content is made fit to go out, `before_send` hooks see it once, the destination's hosts are
tried one after the other until one takes the connection, and that one's replies are the results. Only what concerns
the connection sends us on to the next host (no connection, no greeting, no EHLO, no TLS that the policy accepts, a loss
before MAIL was answered: RFC 5321 §5.1); what a server says to MAIL, RCPT and DATA is its domain's answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import structlog

from mailserver.hooks.contexts import BeforeSendContext
from mailserver.hooks.dispatch import Hooks
from mailserver.model.delivery import Destination, Outcome, Result
from mailserver.model.errors import MailError
from mailserver.model.verdict import Defer, HeaderField, Reject
from mailserver.net.addresses import literal
from mailserver.outbound.attempt import Attempt
from mailserver.outbound.content import outgoing
from mailserver.outbound.opening import Host, OpenConnection, Opener
from mailserver.outbound.settings import SendingSettings
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.ports.resolver import LookupFailed, Resolver

__all__ = ["Sender"]

_log = structlog.get_logger()
#: A header line is folded before this many characters, where it has a space (RFC 5322 §2.1.1).
_WIDTH = 78


class Sender:
    """One for the process. `hostname` is our name in EHLO."""

    def __init__(
        self, settings: SendingSettings, hooks: Hooks, hostname: str, resolver: Resolver | None = None,
        *, allow_private: bool = False,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._hooks = hooks
        self._resolver = resolver
        self._opener = Opener(settings, hostname, allow_private=allow_private)

    async def deliver(self, job: Job) -> DeliveryReport:
        """Make one attempt. Never raises; being cancelled closes the connection."""
        try:
            async with asyncio.timeout(self._settings.attempt_time):
                return await self._deliver(job)
        except TimeoutError:
            return _all(job, Outcome.DEFERRED, "4.4.7", "The attempt took too long and was given up")
        except MailError as error:
            _log.warning("send.failed", queue_id=job.queue_id, reason=error.for_operator)
            outcome = Outcome.DEFERRED if error.temporary else Outcome.FAILED
            return _all(job, outcome, ("4" if error.temporary else "5") + error.status[1:], error.text)
        except Exception as error:
            # A bug of ours must not lose mail, and not stop the queue either.
            _log.error("send.crashed", queue_id=job.queue_id, exc_info=error)
            return _all(job, Outcome.DEFERRED, "4.3.0", "Internal error, the message will be tried again")

    async def _deliver(self, job: Job) -> DeliveryReport:
        content = await outgoing(job.content)
        verdict = await self._hooks.before_send(
            BeforeSendContext(queue_id=job.queue_id, envelope=job.envelope, content=content)
        )
        if isinstance(verdict, Defer | Reject):
            outcome = Outcome.DEFERRED if isinstance(verdict, Defer) else Outcome.FAILED
            default = "4.7.0" if isinstance(verdict, Defer) else "5.7.1"
            return _all(job, outcome, verdict.reply.status or default, verdict.reply.text)
        if verdict.headers:
            content = content.with_fields(b"".join(_field(header) for header in verdict.headers))
        attempt = Attempt(job, content, self._settings, self._connect, self._release)
        return await attempt.run(await self._hosts(job.destination))

    async def _hosts(self, destination: Destination) -> Sequence[Host]:
        hosts = []
        for name, port in destination.hosts[: self._settings.most_hosts]:
            hosts.append(Host(
                name=name, port=port, addresses=await self._addresses(name), trusted=True, source=destination.source,
            ))  # fmt: skip
        return hosts

    async def _addresses(self, name: str) -> tuple[str, ...]:
        address = literal(name)
        if address:
            return (address,)
        if self._resolver is None:
            raise LookupFailed(f"The name {name} cannot be looked up")
        return (await self._resolver.addresses(name)).records

    async def _connect(self, host: Host, fresh: bool) -> OpenConnection:
        return await self._opener.open(host)

    def _release(self, connection: OpenConnection) -> None:
        connection.wire.abort("done")


def _field(header: HeaderField) -> bytes:
    """A field folded at its spaces (RFC 5322 §2.2.3), which relaxed canonicalization does not see (RFC 6376 §3.4.2)."""
    line = f"{header.name}: {header.value}"
    if len(line) <= _WIDTH:
        return f"{line}\r\n".encode("utf-8", "replace")
    lines, width = [], 0
    for number, word in enumerate(re.split("(?<=[^ ])(?= )", line)):
        if width and width + len(word) > _WIDTH and number > 1:
            lines.append("\r\n")
            width = 0
        lines.append(word)
        width += len(word)
    return f"{''.join(lines)}\r\n".encode("utf-8", "replace")


def _all(job: Job, outcome: Outcome, status: str, text: str) -> DeliveryReport:
    result = Result(outcome=outcome, status=status, reply=text[:1000])
    return DeliveryReport(results=(result,) * len(job.envelope.recipients))
