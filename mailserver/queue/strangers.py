"""How much is reported to strangers: whoever forges return paths must not make us flood those who have the addresses.

The counts are in memory. A start forgets them, which costs one hour's reports at most.
"""

from __future__ import annotations

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope
from mailserver.net.rates import SlidingCounter
from mailserver.ports.clock import Clock
from mailserver.queue.settings import QueueSettings

__all__ = ["StrangerReports"]

_HOUR = 3600.0
#: The key of all together; no address is so.
_ALL = ""


class StrangerReports:
    """Counts reports by return path, and all of them."""

    def __init__(self, settings: QueueSettings, clock: Clock) -> None:
        self._each = settings.stranger_reports
        self._all = settings.stranger_reports_in_all
        self._sent = SlidingCounter(_HOUR, clock)

    def allow(self, envelope: Envelope) -> bool:
        """May the sender of this message be told? Then it is counted."""
        sender = envelope.sender
        if sender is None or not envelope.of_stranger:
            return True
        # Sub-addresses are one person's.
        mailbox = EmailAddress(sender.local.partition("+")[0] or sender.local, sender.domain).key
        if self._sent.count(mailbox) >= self._each or self._sent.count(_ALL) >= self._all:
            return False
        # The sum is touched last, so that it is never the one that is forgotten for want of room.
        self._sent.add(mailbox)
        self._sent.add(_ALL)
        return True
