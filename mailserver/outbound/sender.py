"""Gives messages to other servers: `deliver` of `ports.delivery.Deliverer`, for destinations that are not local.

An attempt in its order: the content is made fit to go out, `before_send` hooks see it once, the destination's hosts are
tried one after the other until one takes the connection, and that one's replies are the results. Only what concerns
the connection sends us on to the next host (no connection, no greeting, no EHLO, no TLS that the policy accepts, a loss
before MAIL was answered: RFC 5321 §5.1); what a server says to MAIL, RCPT and DATA is its domain's answer.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from mailserver.hooks.contexts import BeforeSendContext, TlsPolicyContext
from mailserver.hooks.dispatch import Hooks
from mailserver.model.delivery import Destination, Feedback, Outcome, Result
from mailserver.model.envelope import Envelope
from mailserver.model.errors import MailError
from mailserver.model.tls_policy import TlsLevel, TlsPolicy
from mailserver.model.verdict import Defer, HeaderField, Reject
from mailserver.outbound.attempt import Attempt
from mailserver.outbound.content import OutgoingContent, outgoing
from mailserver.outbound.exchangers import Exchanger, Exchangers
from mailserver.outbound.opening import HostFailed, OpenConnection, Opener, Way
from mailserver.outbound.pool import Pool
from mailserver.outbound.protection import OPPORTUNISTIC, protection, tls_optional
from mailserver.outbound.settings import SendingSettings
from mailserver.outbound.smarthosts import Smarthosts
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.wire.smtp_client.commands import Demands

__all__ = ["Sender"]

_log = structlog.get_logger()
#: A header line is folded before this many characters, where it has a space (RFC 5322 §2.1.1).
_WIDTH = 78
_WORDS = re.compile(" *[^ ]+| +")
_NOT_VOUCHED = (
    "The message may only be sent encrypted (REQUIRETLS), and neither DNSSEC nor MTA-STS vouches for {} as the server"
    " of this domain"
)


class Sender:
    """One for the process, an async context manager: leaving it says goodbye to the connections that wait.

    `hostname` is our name in EHLO. Its parts serve others of this package too.
    """

    def __init__(
        self, settings: SendingSettings, hooks: Hooks, hostname: str, exchangers: Exchangers,
        smarthosts: Smarthosts | None = None,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._hooks = hooks
        self.exchangers = exchangers
        self._smarthosts = smarthosts or Smarthosts({})
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="smarthost-login")
        self.opener = Opener(settings, hostname, hooks.emit, self._hashing)
        self.pool = Pool(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.pool.close()
        await self.opener.close()
        self._hashing.shutdown(wait=False, cancel_futures=True)

    async def deliver(self, job: Job) -> DeliveryReport:
        """Make one attempt. Never raises; being cancelled closes the connection."""
        attempt: Attempt | None = None
        feedback = Feedback.FINE
        try:
            async with asyncio.timeout(self._settings.attempt_time):
                prepared = await self._prepare(job)
                if isinstance(prepared, Result):
                    return _all(job, prepared)
                attempt = prepared
                return await attempt.run(self.exchangers.search(job.destination))
        except TimeoutError:
            # A destination that is slow at every step gets fewer at once, and no more of them.
            feedback = Feedback.BUSY
            result = _failure("4.4.7", "The attempt took too long and was given up")
        except MailError as error:
            _log.warning("send.failed", queue_id=job.queue_id, reason=error.for_operator)
            result = _failure(error.status, error.text, permanent=not error.temporary)
        except Exception as error:
            # A bug of ours must not lose mail, and not stop the queue either.
            _log.error("send.crashed", queue_id=job.queue_id, exc_info=error)
            result = _failure("4.3.0", "Internal error, the message will be tried again")
        # Whoever has the message already must not get it once more.
        return attempt.report(result, feedback) if attempt is not None else _all(job, result)

    async def _prepare(self, job: Job) -> Attempt | Result:
        """The message as it goes out; a Result: it does not."""
        content = await outgoing(job.content)
        verdict = await self._hooks.before_send(
            BeforeSendContext(queue_id=job.queue_id, envelope=job.envelope, content=content)
        )
        if isinstance(verdict, Defer):
            return _failure(verdict.reply.status or "4.7.0", verdict.reply.text)
        if isinstance(verdict, Reject):
            return _failure(verdict.reply.status or "5.7.1", verdict.reply.text, permanent=True)
        if verdict.headers:
            content = content.with_fields(b"".join(_field(header) for header in verdict.headers))
        demands = _demands(job.envelope, content)
        optional = not demands.require_tls and tls_optional(content.head())
        return Attempt(job, content, self._settings, _Connections(self, job, demands, tls_optional=optional), demands)

    async def way(
        self, destination: Destination, host: Exchanger, *, require_tls: bool = False, tls_optional: bool = False
    ) -> Way:
        """How to get to a host for mail of this destination. Raises HostFailed: not for this mail."""
        fixed = bool(destination.hosts)
        domain = host.name if fixed else destination.name
        try:
            if destination.smarthost:
                way = self._smarthost_way(destination, host)
            else:
                found = await self._policy(
                    TlsPolicyContext(domain=domain, host=host.name, port=host.port, mx_authentic=host.mx_authentic),
                    optional=tls_optional,
                )
                way = Way(host=host, domain=domain, policy=found or OPPORTUNISTIC, source=destination.source)
        except MailError as error:
            raise HostFailed(error.text, "4" + error.status[1:]) from None
        # What a sender says of its message cannot make us show a password to strangers.
        optional = tls_optional and not destination.smarthost
        policy = protection(way.policy, require_tls=require_tls, mx_authentic=host.mx_authentic, optional=optional)
        if policy is None:
            raise HostFailed(_NOT_VOUCHED.format(host.name), "5.7.10", permanent=True, feedback=Feedback.FINE)
        return replace(way, policy=policy, require_tls=require_tls)

    async def _policy(self, ctx: TlsPolicyContext, *, optional: bool) -> TlsPolicy | None:
        try:
            return await self._hooks.tls_policy(ctx)
        except MailError:
            # RFC 8689 §4.2.2: no policy ends such a message, and none that could not be found out does.
            if not optional:
                raise
            return None

    def _smarthost_way(self, destination: Destination, host: Exchanger) -> Way:
        settings = self._smarthosts.settings(destination.smarthost)
        if settings is None:
            text = f"there is no smarthost {destination.smarthost} any more"
            raise MailError(text, status="4.3.5", temporary=True)
        level = TlsLevel.NONE if settings.tls == "none" else TlsLevel.VERIFIED
        return Way(
            host=host, domain=host.name, policy=TlsPolicy(level=level, source="configuration"),
            source=destination.source, implicit_tls=settings.tls == "implicit", ca_file=settings.ca_file,
            credentials=self._smarthosts.credentials(destination.smarthost),
        )  # fmt: skip


class _Connections:
    """`attempt.Connections` for one job."""

    def __init__(self, sender: Sender, job: Job, demands: Demands, *, tls_optional: bool) -> None:
        self._sender = sender
        self._destination = job.destination
        self._require_tls = demands.require_tls
        self._tls_optional = tls_optional
        self._own = job.envelope.own

    def take(self) -> OpenConnection | None:
        if self._tls_optional:
            return None
        return self._sender.pool.take(self._destination, _promises_tls if self._require_tls else None)

    async def open(self, host: Exchanger) -> OpenConnection:
        way = await self._sender.way(
            self._destination, host, require_tls=self._require_tls, tls_optional=self._tls_optional
        )
        return await self._sender.opener.open(replace(way, own=True) if self._own else way)

    def release(self, connection: OpenConnection) -> None:
        if self._tls_optional:
            connection.wire.goodbye()  # It may be less protected than the next message must be.
        else:
            self._sender.pool.put(self._destination, connection)


def _promises_tls(connection: OpenConnection) -> bool:
    return connection.authenticated and connection.features.require_tls


def _demands(envelope: Envelope, content: OutgoingContent) -> Demands:
    """What this message asks of a server, whoever its recipients are.

    Domains are in A-labels here, so what may be internationalized are local parts and, if its sender said so, the
    header (RFC 6531 §3.2). A report goes out even where REQUIRETLS is not known (RFC 8689 §5).
    """
    sender = envelope.sender
    return Demands(
        size=content.size,
        eight_bit=content.eight_bit,
        utf8_header=content.utf8_header,
        smtputf8=not (sender is None or sender.local.isascii()) or (envelope.smtputf8 and content.utf8_header),
        require_tls=envelope.require_tls and sender is not None,
    )


def _field(header: HeaderField) -> bytes:
    """A field folded at its spaces (RFC 5322 §2.2.3), which relaxed canonicalization does not see (RFC 6376 §3.4.2)."""
    line = f"{header.name}: {header.value}"
    if len(line) <= _WIDTH:
        return f"{line}\r\n".encode("utf-8", "replace")
    lines, width = [], 0
    for number, word in enumerate(_WORDS.findall(line)):
        if width and width + len(word) > _WIDTH and number > 1:
            lines.append("\r\n")
            width = 0
        lines.append(word)
        width += len(word)
    return f"{''.join(lines)}\r\n".encode("utf-8", "replace")


def _failure(status: str, text: str, *, permanent: bool = False) -> Result:
    outcome = Outcome.FAILED if permanent else Outcome.DEFERRED
    return Result(outcome=outcome, status=("5" if permanent else "4") + status[1:], reply=text[:1000])


def _all(job: Job, result: Result) -> DeliveryReport:
    return DeliveryReport(results=(result,) * len(job.envelope.recipients))
