"""Whose attempt begins next, and how many one sender may have in hand (ATTACKS G15, G17). No I/O, no clock.

A server that answers at the last moment holds a connection for as long as an attempt may take, and anybody can have
two hundred domains of such servers, and have us send him mail: reports, forwards. Therefore

* of those who wait the one goes next who has the fewest attempts in hand; those who have equally many take turns;
* of the last eighth nobody takes one more who has as many in hand as are left. So one alone uses seven eighths; and
  whoever comes next begins at once, with half of what is left, however long the others' attempts last;
* all mail that no account of ours sent counts as one sender's, and begins no attempt when it has as many in hand as are
  left: so it has half of them at most. In its half the same holds for its senders.

What one sender has waiting for one destination is a line. Each line stands with its sender; when it had its turn in
vain, because its destination had no room, it stands with its lane, which gives back as many as it has room for. So a
step costs the same however many messages, senders and destinations wait.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from mailserver.queue.lanes import Lane
from mailserver.queue.unit import Unit

__all__ = ["Line", "Sender", "Turns"]

#: The part of all attempts that is kept back.
_RESERVED = 8


class Sender:
    """One who pays for attempts: an account, or of strangers a domain."""

    __slots__ = ("all_lines", "group", "lines", "name", "running")

    def __init__(self, name: str, group: _Group) -> None:
        self.name = name
        self.group = group
        #: Attempts in hand.
        self.running = 0
        #: The lines that stand here, in the order of their turns.
        self.lines: OrderedDict[Line, None] = OrderedDict()
        #: How many there are, here and with their lanes.
        self.all_lines = 0


class Line:
    """What one sender has waiting for one destination; never empty."""

    __slots__ = ("lane", "parked", "sender", "units")

    def __init__(self, lane: Lane, sender: Sender) -> None:
        self.lane = lane
        self.sender = sender
        self.units: OrderedDict[Unit, None] = OrderedDict()
        #: It stands with its lane.
        self.parked = False


class _Group:
    """Senders of one kind: `index` 1 are accounts of ours, 0 all others."""

    __slots__ = ("index", "rings", "running", "senders", "with_room")

    def __init__(self, index: int) -> None:
        self.index = index
        self.running = 0
        self.senders: dict[str, Sender] = {}
        #: Those with a line, by attempts in hand, in the order of their turns; no ring is empty.
        self.rings: dict[int, OrderedDict[Sender, None]] = {}
        #: Lanes that had room, and lines of these senders, when last looked at.
        self.with_room: OrderedDict[Lane, None] = OrderedDict()

    def sender(self, name: str) -> Sender:
        """Made where there is none."""
        found = self.senders.get(name)
        if found is None:
            found = self.senders[name] = Sender(name, self)
        return found

    def fewest(self, below: float) -> float:
        """The fewest attempts that one has in hand who has a line, if below that many; infinite: there is none.

        As the sum of all is bounded there are few different numbers.
        """
        if below <= 0:
            return math.inf
        while True:
            number: float = min(self.rings, default=math.inf)
            if number < below:
                return number
            if not self._call_back():
                return math.inf

    def first(self) -> Line:
        """The next line of the one whose turn it is. There must be one."""
        sender = next(iter(self.rings[min(self.rings)]))
        return next(iter(sender.lines))

    def enter(self, sender: Sender) -> None:
        """At the end of its ring, if it has a line to stand for."""
        if sender.lines:
            self.rings.setdefault(sender.running, OrderedDict())[sender] = None
        elif not sender.all_lines and not sender.running:
            self.senders.pop(sender.name, None)

    def leave(self, sender: Sender) -> None:
        """Out of its ring; `enter` must follow."""
        ring = self.rings.get(sender.running)
        if ring is not None and sender in ring:
            del ring[sender]
            if not ring:
                del self.rings[sender.running]

    def call(self, line: Line) -> None:
        """From its lane back to its sender, whose next line it is."""
        del line.lane.parked[self.index][line]
        line.parked = False
        sender = line.sender
        sender.lines[line] = None
        sender.lines.move_to_end(line, last=False)
        if len(sender.lines) == 1:
            self.enter(sender)

    def _call_back(self) -> bool:
        """One more line, of a lane whose room nobody could use who was called before."""
        while self.with_room:
            lane = next(iter(self.with_room))
            parked = lane.parked[self.index]
            if parked and lane.room > 0:
                self.call(next(iter(parked)))
                return True
            del self.with_room[lane]
        return False


class Turns:
    """For lanes that share `most` attempts at once (infinite: as many as the lanes have room for)."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._strangers_most = most if math.isinf(most) else max(1, most // 2)
        #: What is kept for those who come.
        self._reserve = 0 if math.isinf(most) else max(1, most // _RESERVED)
        #: Attempts in hand.
        self.running = 0
        self._groups = (_Group(0), _Group(1))
        self._last: _Group | None = None

    def push(self, unit: Unit, lane: Lane) -> None:
        """It waits for an attempt in this lane."""
        group = self._groups[unit.ours]
        sender = group.sender(unit.sender)
        line = lane.lines.get(sender)
        if line is None:
            line = lane.lines[sender] = Line(lane, sender)
            sender.all_lines += 1
            sender.lines[line] = None
            if len(sender.lines) == 1:
                group.enter(sender)
        line.units[unit] = None
        lane.waiting += 1

    def remove(self, unit: Unit, lane: Lane) -> None:
        """It waits no more."""
        line = lane.lines[self._groups[unit.ours].senders[unit.sender]]
        del line.units[unit]
        lane.waiting -= 1
        if not line.units:
            group = line.sender.group
            group.leave(line.sender)
            self._end_line(line)
            group.enter(line.sender)

    def take(self) -> Unit | None:
        """The next one, whose attempt begins now; `ended` must follow."""
        while self.running < self._most and (group := self._whose_turn()) is not None:
            line = group.first()
            if line.lane.room > 0:
                self._last = group
                return self._begin(line)
            group.leave(line.sender)
            del line.sender.lines[line]
            line.parked = True
            line.lane.parked[group.index][line] = None
            group.enter(line.sender)
        return None

    def ended(self, unit: Unit) -> None:
        """The attempt of this one is over. `offer` must follow, when its lane knows."""
        group = self._groups[unit.ours]
        sender = group.senders[unit.sender]
        group.leave(sender)
        sender.running -= 1
        group.running -= 1
        self.running -= 1
        group.enter(sender)

    def offer(self, lane: Lane) -> None:
        """This lane may have room again."""
        room = lane.room
        if room <= 0:
            return
        for group in self._groups:
            parked = lane.parked[group.index]
            for _ in range(min(room, len(parked))):
                group.call(next(iter(parked)))
            if parked:
                group.with_room[lane] = None

    def forget(self, lane: Lane) -> None:
        """Nothing waits in this lane any more, and it is given up: senders may keep all attempts in hand for days."""
        for group in self._groups:
            group.with_room.pop(lane, None)

    def _whose_turn(self) -> _Group | None:
        left = self._most - self.running
        strangers, ours = self._groups
        fewest = ours.fewest(math.inf if left > self._reserve else left)
        theirs = math.inf
        if strangers.running < left and strangers.fewest(self._strangers_most - strangers.running) < math.inf:
            theirs = strangers.running
        if fewest == theirs:
            if fewest == math.inf:
                return None
            return strangers if self._last is ours else ours
        return ours if fewest < theirs else strangers

    def _begin(self, line: Line) -> Unit:
        sender, lane = line.sender, line.lane
        group = sender.group
        group.leave(sender)
        unit, _ = line.units.popitem(last=False)
        lane.waiting -= 1
        lane.begin(unit)
        sender.running += 1
        group.running += 1
        self.running += 1
        if line.units:
            sender.lines.move_to_end(line)
        else:
            self._end_line(line)
        group.enter(sender)
        return unit

    def _end_line(self, line: Line) -> None:
        """Nothing of it waits any more."""
        sender, lane = line.sender, line.lane
        del lane.lines[sender]
        sender.all_lines -= 1
        if line.parked:
            del lane.parked[sender.group.index][line]
        else:
            del sender.lines[line]
