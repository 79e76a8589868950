"""The plugin for TLS reports, with everything that it asks and gives held by a test; a report of ours, read again."""

from __future__ import annotations

import email
import email.policy
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import orjson

from mailserver.api import (
    Accepted,
    AlreadyExists,
    Domain,
    EmailAddress,
    Envelope,
    Event,
    MessageContext,
    QueueId,
    Recipient,
    SessionId,
    TlsAttempted,
    TlsLevel,
    TlsPolicy,
    WebAnswer,
    WebFailed,
)  # fmt: skip
from mailserver.hooks.registry import Registry
from mailserver.plugins import tlsrpt
from mailserver.plugins.tlsrpt.settings import TlsReportSettings
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host, make_session

__all__ = ["DANE", "DAY", "FAR", "OPPORTUNISTIC", "STS", "TODAY", "World", "attached", "parsed", "tls"]

DAY = 86400.0
#: FakeClock begins at 08:00 UTC of this day.
TODAY = "2027-01-15"
FAR = "far.test"
STS = TlsPolicy(
    level=TlsLevel.VERIFIED, source="sts", text=("version: STSv1", "mode: enforce", "mx: *.far.test", "max_age: 86400"),
    patterns=("*.far.test",),
)  # fmt: skip
DANE = TlsPolicy(level=TlsLevel.DANE, source="dane", text=("3 1 1 " + "AB" * 32,))
OPPORTUNISTIC = TlsPolicy(level=TlsLevel.OPPORTUNISTIC, source="opportunistic")


def tls(domain: str = FAR, policy: TlsPolicy = STS, **fields: Any) -> TlsAttempted:
    given: dict[str, Any] = {
        "host": f"mx.{domain}", "address": "192.0.2.25", "source": "9.9.9.9", "tls": "TLSv1.3",
    }  # fmt: skip
    return TlsAttempted(domain=domain, policy=policy, **(given | fields))


class World:
    """The plugin, and everything that it asks and gives."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.dns, self.clock, self.path = FakeResolver(), FakeClock(), path
        self.settings = TlsReportSettings(**settings)
        self.queued: dict[QueueId, tuple[Envelope, bytes]] = {}
        self.events: list[Event] = []
        self.posts: list[tuple[str, bytes, str]] = []
        self.answers: dict[str, int | WebFailed] = {}
        self.served = ["example.test", "other.test"]
        self.broken = False
        self.host = make_host(
            resolver=self.dns, clock=self.clock, data_dir=path, web=self, queue=self, store=self, directory=self,
            emit=self.events.append,
        )  # fmt: skip
        self.registry = Registry()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        self.registry = Registry()
        async with tlsrpt.plugin.setup(self.registry, self.settings, self.host):
            yield self

    # What the plugin sees.

    def domain(self, name: str) -> Any:
        return cast(Any, name) if name in self.served else None

    def domains(self) -> list[Domain]:
        return [Domain(name=name) for name in self.served]

    def begin(self, size_hint: int = 0) -> BytesContent:
        return BytesContent(b"")

    async def inject(self, queue_id: QueueId, envelope: Envelope, content: BytesContent) -> None:
        if self.broken:
            raise WebFailed("the disk is full")
        if queue_id in self.queued:
            raise AlreadyExists("it is there")
        self.queued[queue_id] = envelope, await content.read(0, content.size)

    async def post(self, url: str, body: bytes, media_type: str, *, most: int, within: float) -> WebAnswer:
        answer = self.answers.get(url, WebFailed("nobody there"))
        if isinstance(answer, WebFailed):
            raise answer
        self.posts.append((url, body, media_type))
        return WebAnswer(status=answer, media_type="text/plain", body=b"")

    # What tests do.

    def asks(self, *rua: str, domain: str = FAR) -> None:
        self.dns.has("txt", f"_smtp._tls.{domain}", f"v=TLSRPTv1; rua={','.join(rua)}".encode())

    def count(self, *events: Event) -> None:
        (sink,) = self.registry.event_sinks
        for event in events:
            sink(event)

    async def operation(self, name: str, **arguments: Any) -> Any:
        (fn,) = (each.value for each in self.registry.contributions["operation"] if each.name == name)
        return await fn(arguments)

    async def send(self) -> int:
        return cast(int, (await self.operation("tlsrpt.send"))["due"])

    async def next_day(self) -> int:
        self.clock.advance(DAY)
        return await self.send()

    async def shown(self, domain: str = "") -> Any:
        return await self.operation("tlsrpt.show", domain=domain)

    async def state(self) -> str:
        (row,) = (await self.shown())["sent"]
        return str(row["state"])

    async def arrives(self, message: bytes, to: str = "anna@example.test", *, accepted: bool = True) -> None:
        (hook,) = self.registry.hooks["on_message"]
        queue_id = QueueId(f"{len(message):016}")
        envelope = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse(to)),))
        content = BytesContent(message)
        doing = hook(MessageContext(session=make_session(), queue_id=queue_id, envelope=envelope, content=content))
        if doing is not None:
            await doing
        ((_, observer),) = self.registry.observers
        event = Accepted(
            session=SessionId("s"), queue_id=queue_id, service="smtp", sender="", recipients=(to,), size=1
        )
        doing = observer(event) if accepted else None
        if doing is not None:
            await doing


def parsed(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.SMTP)


def attached(octets: bytes) -> Any:
    (part,) = [part for part in parsed(octets).walk() if part.get_content_type() == "application/tlsrpt+gzip"]
    return orjson.loads(gzip.decompress(cast(bytes, part.get_payload(decode=True))))
