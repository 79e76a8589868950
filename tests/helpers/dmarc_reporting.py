"""The plugin for DMARC reports, with everything that it asks and gives held by a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from mailserver.api import (
    Accepted,
    AlreadyExists,
    AuthResult,
    DmarcEvaluated,
    Domain,
    EmailAddress,
    Envelope,
    Event,
    MessageContext,
    QueueId,
    Recipient,
    SessionId,
    StorageFailure,
)
from mailserver.hooks.registry import Registry
from mailserver.plugins import dmarc_report
from mailserver.plugins.dmarc_report.settings import DmarcReportSettings
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host, make_session

__all__ = ["DAY", "FAR", "TODAY", "World", "evaluated"]

DAY = 86400.0
#: FakeClock begins at 08:00 UTC of this day.
TODAY = "2027-01-15"
FAR = "far.test"
_RESULTS = (
    AuthResult(method="dkim", result="fail", properties=(("header.d", "list.test"), ("header.s", "x"))),
    AuthResult(method="dkim", result="pass", properties=(("header.d", FAR), ("header.s", "s1"))),
    AuthResult(method="spf", result="softfail", properties=(("smtp.mailfrom", "bounce@mail.far.test"),)),
)


def evaluated(**fields: Any) -> DmarcEvaluated:
    """A message that DKIM proves, of a domain with p=reject that asks for reports; `fields` say otherwise."""
    given: dict[str, Any] = {
        "queue_id": QueueId("q1"), "peer": "192.0.2.25", "author": FAR, "helo": "mx.far.test",
        "sender": "mail.far.test", "recipients": ("example.test",), "policy_domain": FAR, "p": "reject", "sp": "",
        "np": "", "strict_dkim": False, "strict_spf": True, "fo": "0", "testing": False,
        "rua": ("mailto:dmarc@far.test",), "ruf": (), "passed": True, "disposition": "none", "dkim_aligned": True,
        "spf_aligned": False, "results": _RESULTS,
    }  # fmt: skip
    return DmarcEvaluated(**(given | fields))


class World:
    """The plugin, and everything that it asks and gives."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.dns, self.clock = FakeResolver(), FakeClock()
        self.settings = DmarcReportSettings(**settings)
        self.queued: dict[QueueId, tuple[Envelope, bytes]] = {}
        self.events: list[Event] = []
        self.served = ["example.test", "other.test"]
        self.broken = False
        self.host = make_host(
            resolver=self.dns, clock=self.clock, data_dir=path, queue=self, store=self, directory=self,
            emit=self.events.append,
        )  # fmt: skip
        self.registry = Registry()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        self.registry = Registry()
        async with dmarc_report.plugin.setup(self.registry, self.settings, self.host):
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
            raise StorageFailure("the disk is full")
        if queue_id in self.queued:
            raise AlreadyExists("it is there")
        self.queued[queue_id] = envelope, await content.read(0, content.size)

    # What tests do.

    def asks(self, *rua: str, domain: str = FAR) -> None:
        self.dns.has("txt", f"_dmarc.{domain}", f"v=DMARC1; p=reject; rua={','.join(rua)}".encode())

    def agrees(self, host: str, text: str = "v=DMARC1", domain: str = FAR) -> None:
        self.dns.has("txt", f"{domain}._report._dmarc.{host}", text.encode())

    def count(self, *events: Event) -> None:
        (sink,) = self.registry.event_sinks
        for event in events:
            sink(event)

    async def operation(self, name: str, **arguments: Any) -> Any:
        (fn,) = (each.value for each in self.registry.contributions["operation"] if each.name == name)
        return await fn(arguments)

    async def send(self) -> int:
        return cast(int, (await self.operation("dmarc_report.send"))["due"])

    async def next_day(self) -> int:
        self.clock.advance(DAY)
        return await self.send()

    async def shown(self, domain: str = "") -> Any:
        return await self.operation("dmarc_report.show", domain=domain, sources=True)

    async def row(self) -> Any:
        (row,) = (await self.shown())["sent"]
        return row

    async def arrives(
        self, message: bytes, to: str = "anna@example.test", *, accepted: bool = True,
        event: DmarcEvaluated | None = None,
    ) -> None:  # fmt: skip
        (hook,) = self.registry.hooks["on_message"]
        queue_id = QueueId(f"{len(message):016}")
        envelope = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse(to)),))
        content = BytesContent(message)
        doing = hook(MessageContext(session=make_session(), queue_id=queue_id, envelope=envelope, content=content))
        if doing is not None:
            await doing
        if event is not None:
            self.count(event)
        ((_, observer),) = self.registry.observers
        told = Accepted(session=SessionId("s"), queue_id=queue_id, service="smtp", sender="", recipients=(to,), size=1)
        doing = observer(told) if accepted else None
        if doing is not None:
            await doing
