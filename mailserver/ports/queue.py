"""The outbound queue's door: what submission and delivery need of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mailserver.model.envelope import Envelope
from mailserver.model.ids import AccountId, QueueId
from mailserver.ports.store import ReadableContent

__all__ = ["MailQueue", "QueuedMessage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """One waiting message as `queue list` shows it. Times are epoch seconds; `size` in octets.

    `next_attempt` and `held_until` (0: not held, infinite: for good) are the earliest of its recipients.
    """

    queue_id: QueueId
    sender: str
    recipients: tuple[str, ...]
    size: int
    arrived: float
    next_attempt: float
    attempts: int
    last_error: str = ""
    held_until: float = 0.0


class MailQueue(Protocol):
    """Durable waiting room for mail that cannot be delivered at once."""

    async def inject(
        self, queue_id: QueueId, envelope: Envelope, content: ReadableContent, header: bytes = b""
    ) -> None:
        """Keep a message (`header` first) for all recipients of the envelope. Durable on return.

        Raises StorageFailure, LimitReached (queue full): then nothing is kept.
        """
        ...

    def held_for(self, account: AccountId) -> int:
        """How many messages are here that the account submitted for a later time."""
        ...

    async def list(self) -> list[QueuedMessage]:
        """Everything that waits, oldest first."""
        ...
