"""First come, first served among the messages of one sender; turn by turn among the senders.

So ten messages of one user are not behind fifty thousand of another one (ATTACKS G17).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["FairQueue", "Waiting"]


class Waiting(Hashable, Protocol):
    """What a line is made of."""

    #: Whose turn it uses.
    sender: str


_T = TypeVar("_T", bound=Waiting)


class FairQueue(Generic[_T]):
    """Each operation costs the same however long the lines are."""

    __slots__ = ("_length", "_lines")

    def __init__(self) -> None:
        #: By sender, in the order of their turns; nobody has an empty line.
        self._lines: OrderedDict[str, OrderedDict[_T, None]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, one: _T) -> None:
        """At the end of its sender's line."""
        line = self._lines.get(one.sender)
        if line is None:
            line = self._lines[one.sender] = OrderedDict()
        line[one] = None
        self._length += 1

    def pop(self) -> _T | None:
        """The first of the sender whose turn it is."""
        if not self._lines:
            return None
        sender, line = next(iter(self._lines.items()))
        one, _ = line.popitem(last=False)
        self._length -= 1
        if line:
            self._lines.move_to_end(sender)
        else:
            del self._lines[sender]
        return one

    def remove(self, one: _T) -> None:
        """Take one out. Raises KeyError: it is not here."""
        line = self._lines[one.sender]
        del line[one]
        self._length -= 1
        if not line:
            del self._lines[one.sender]
