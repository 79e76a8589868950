"""A plugin for aggregate reports, with everything that it asks and gives held by a test."""

from __future__ import annotations

import email
import email.policy
import gzip
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from mailserver.api import (
    Accepted,
    AlreadyExists,
    Domain,
    EmailAddress,
    Envelope,
    Event,
    MessageContext,
    Plugin,
    QueueId,
    Recipient,
    SessionId,
    StorageFailure,
    WebAnswer,
    WebFailed,
)
from mailserver.hooks.registry import Registry
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.daemon import Daemon
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host, make_session

__all__ = ["DAY", "FAR", "TODAY", "AggregateWorld", "night", "parsed", "unpacked"]

DAY = 86400.0
#: FakeClock begins at 08:00 UTC of this day.
TODAY = "2027-01-15"
FAR = "far.test"


class AggregateWorld:
    """The plugin, and everything that it asks and gives. A kind of report adds what it is about."""

    plugin: ClassVar[Plugin]
    #: The record by which a domain asks for reports: its name below the domain, and its text.
    record: ClassVar[tuple[str, str]]
    media_type: ClassVar[str]

    def __init__(self, path: Path, **settings: Any) -> None:
        self.dns, self.clock = FakeResolver(), FakeClock()
        self.settings: Any = self.plugin.settings(**settings)
        self.queued: dict[QueueId, tuple[Envelope, bytes]] = {}
        self.events: list[Event] = []
        self.posts: list[tuple[str, bytes, str]] = []
        self.answers: dict[str, int | WebFailed] = {}
        self.served = ["example.test", "other.test"]
        self.broken = False
        #: Of one whose mail the queue does not take.
        self.full = ""
        self.host = make_host(
            resolver=self.dns, clock=self.clock, data_dir=path, web=self, queue=self, store=self, directory=self,
            emit=self.events.append,
        )  # fmt: skip
        self.registry = Registry()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        self.registry = Registry()
        async with self.plugin.setup(self.registry, self.settings, self.host):
            yield self

    def one(self, domain: str = FAR, number: int = 0) -> Event:
        """Something that counts for the domain; of another kind for each number."""
        raise NotImplementedError

    def theirs(self, domain: str = "example.test", number: int = 0) -> bytes:
        """A message with a report of others; another one for each number."""
        raise NotImplementedError

    def damaged(self) -> list[bytes]:
        """Messages that look like one."""
        raise NotImplementedError

    # What the plugin sees.

    def domain(self, name: str) -> Any:
        return cast(Any, name) if name in self.served else None

    def domains(self) -> list[Domain]:
        return [Domain(name=name) for name in self.served]

    def begin(self, size_hint: int = 0) -> BytesContent:
        return BytesContent(b"")

    async def inject(self, queue_id: QueueId, envelope: Envelope, content: BytesContent) -> None:
        if self.broken or self.full in (str(one.address) for one in envelope.recipients):
            raise StorageFailure("the disk is full")
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
        prefix, version = self.record
        self.dns.has("txt", f"{prefix}.{domain}", f"{version}; rua={','.join(rua)}".encode())

    def count(self, *events: Event) -> None:
        (sink,) = self.registry.event_sinks
        for event in events:
            sink(event)

    async def operation(self, name: str, **arguments: Any) -> Any:
        wanted = f"{self.plugin.name}.{name}"
        (fn,) = (each.value for each in self.registry.contributions["operation"] if each.name == wanted)
        return await fn(arguments)

    async def send(self) -> int:
        return cast(int, (await self.operation("send"))["due"])

    async def next_day(self) -> int:
        self.clock.advance(DAY)
        return await self.send()

    async def shown(self, domain: str = "", **arguments: Any) -> Any:
        return await self.operation("show", domain=domain, **arguments)

    async def row(self) -> Any:
        (row,) = (await self.shown())["sent"]
        return row

    def sent_to(self) -> list[str]:
        return [str(one.address) for envelope, _ in self.queued.values() for one in envelope.recipients]

    def file(self) -> bytes:
        """In the one report that was sent."""
        ((_, octets),) = self.queued.values()
        return unpacked(octets, self.media_type)

    def incoming(self, message: bytes, to: str = "anna@example.test") -> MessageContext:
        envelope = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse(to)),))
        queue_id = QueueId(f"{len(message):016}")
        content = BytesContent(message)
        return MessageContext(session=make_session(), queue_id=queue_id, envelope=envelope, content=content)

    async def arrives(
        self, message: bytes, to: str = "anna@example.test", *, accepted: bool = True, event: Event | None = None
    ) -> None:
        (hook,) = self.registry.hooks["on_message"]
        ctx = self.incoming(message, to)
        doing = hook(ctx)
        if doing is not None:
            await doing
        if event is not None:
            self.count(event)
        ((_, observer),) = self.registry.observers
        told = Accepted(
            session=SessionId("s"), queue_id=ctx.queue_id, service="smtp", sender="", recipients=(to,), size=1
        )
        doing = observer(told) if accepted else None
        if doing is not None:
            await doing


def parsed(octets: bytes) -> EmailMessage:
    """A message, read by Python's own parser."""
    return email.message_from_bytes(octets, policy=email.policy.SMTP)


def unpacked(octets: bytes, media_type: str) -> bytes:
    """The file in a report of ours."""
    (part,) = [part for part in parsed(octets).walk() if part.get_content_type() == media_type]
    return gzip.decompress(cast(bytes, part.get_payload(decode=True)))


def night(daemon: Daemon, plugin: str) -> None:
    """Today becomes a day of the past whose reports are due."""
    daemon.stop()
    with sqlite3.connect(daemon.data / ".server" / f"{plugin}.db") as db:
        # Within the two weeks for which counts are kept.
        db.execute("UPDATE report SET day = date('now', '-2 days'), next = 1")
    db.close()
    daemon.start()
