"""A Sender with what it needs, and jobs for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailserver.hooks.dispatch import Hooks
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Destination
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.ids import new_queue_id
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.sender import Sender
from mailserver.outbound.settings import SendingSettings
from mailserver.outbound.smarthosts import Smarthosts
from mailserver.ports.delivery import Job
from mailserver.ports.resolver import LookupFailed
from tests.helpers.content import BytesContent

__all__ = ["MESSAGE", "NoNames", "Noted", "job", "make_sender"]

MESSAGE = b"From: anna@example.test\r\nSubject: hello\r\n\r\nhello\r\n.\r\n..two dots\r\n"


class Noted:
    """`about_to_end` that remembers."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    async def __call__(self, indexes: Sequence[int]) -> None:
        self.calls.append(list(indexes))


def make_sender(hooks: Hooks, *, smarthosts: Smarthosts | None = None, **changes: Any) -> Sender:
    """`changes` are settings. Names are not known here: destinations have hosts that are addresses."""
    return Sender(SendingSettings(**changes), hooks, "mail.example.test", Exchangers(NoNames()), smarthosts)


class NoNames:
    """A `ports.resolver.Resolver` that knows nothing."""

    async def _unknown(self, name: str, kind: str = "") -> Any:
        raise LookupFailed(f"nobody knows {name} here")

    mx = addresses = tlsa = txt = ptr = query = _unknown


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
