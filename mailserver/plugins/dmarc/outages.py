"""For how long the policy of an author cannot be looked up: whose DNS is out of order for days must not lose his mail.

In memory only: after a restart the wait begins anew, which costs a delay and no mail.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Outages"]

#: The one that was asked about longest ago is forgotten.
_MOST = 5_000
#: After so many seconds without a question it is another outage.
_FORGOTTEN = 2 * 86_400.0


class Outages:
    """By the author's domain; times in seconds of any clock that does not turn back."""

    def __init__(self) -> None:
        #: When it began, and when it was noticed last.
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def lasts(self, author: str, now: float) -> float:
        """It still cannot be looked up: since how many seconds?"""
        began, last = self._known.pop(author, (now, now))
        if now - last > _FORGOTTEN:
            began = now
        self._known[author] = (began, now)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return now - began

    def ended(self, author: str) -> None:
        """It was looked up."""
        self._known.pop(author, None)
