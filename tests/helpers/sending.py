"""A Sender with what it needs, and jobs for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Destination
from mailserver.model.dns import Answer, MailExchanger
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.events import Event, TlsAttempted
from mailserver.model.ids import new_queue_id
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.sender import Sender
from mailserver.outbound.settings import SendingSettings
from mailserver.outbound.smarthosts import Smarthosts
from mailserver.ports.delivery import Job
from mailserver.ports.resolver import LookupFailed
from tests.helpers.content import BytesContent

__all__ = ["MESSAGE", "Events", "Loopback", "Noted", "job", "make_sender"]

MESSAGE = b"From: anna@example.test\r\nSubject: hello\r\n\r\nhello\r\n.\r\n..two dots\r\n"


class Noted:
    """`about_to_end` that remembers."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    async def __call__(self, indexes: Sequence[int]) -> None:
        self.calls.append(list(indexes))


def make_sender(hooks: Hooks, *, smarthosts: Smarthosts | None = None, **changes: Any) -> Sender:
    """`changes` are settings. All names lead to 127.0.0.1, and there is no MX."""
    return Sender(SendingSettings(**changes), hooks, "mail.example.test", Exchangers(Loopback()), smarthosts)


class Loopback:
    """A `ports.resolver.Resolver` for which every name is this machine's, and every domain has these MX."""

    def __init__(self, mx: Sequence[str] = ()) -> None:
        self._mx = mx

    async def mx(self, domain: str) -> Answer[MailExchanger]:
        return Answer(records=tuple(MailExchanger(10, host) for host in self._mx), name=domain)

    async def addresses(self, host: str) -> Answer[str]:
        return Answer(records=("127.0.0.1",), name=host)

    async def _unknown(self, name: str, kind: str = "") -> Any:
        raise LookupFailed(f"nobody knows {name} here")

    tlsa = txt = ptr = query = exists = _unknown


class Events:
    """Hooks with functions of a test, and the events that were emitted."""

    def __init__(self, **functions: Any) -> None:
        registry = Registry(HookOptions(plugin="test"))
        self.all: list[Event] = []
        registry.event_sink(self.all.append)
        for point, function in functions.items():
            getattr(registry, point)(function)
        self.hooks = Hooks([registry])

    def tls(self) -> list[TlsAttempted]:
        return [event for event in self.all if isinstance(event, TlsAttempted)]


def job(
    *ports: int, content: bytes = MESSAGE, to: Sequence[str] = ("bert@far.test",), sender: str = "anna@example.test",
    noted: Noted | None = None, destination: Destination | None = None, head: int = 1 << 20, **envelope: Any,
) -> Job:  # fmt: skip
    """A message for hosts at 127.0.0.1 with these ports, in this order."""
    return Job(
        queue_id=new_queue_id(),
        destination=destination or Destination(name="far.test", hosts=tuple(("127.0.0.1", port) for port in ports)),
        envelope=Envelope(
            sender=EmailAddress.parse(sender) if sender else None,
            recipients=tuple(Recipient(address=EmailAddress.parse(text)) for text in to),
            **envelope,
        ),
        content=BytesContent(content, head),
        arrived=1_800_000_000.0,
        attempt=1,
        expires=1_800_400_000.0,
        about_to_end=noted or Noted(),
    )
