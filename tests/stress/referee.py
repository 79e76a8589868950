"""When everything is quiet: what the server shows, what is on the disk and what each client knows must be the same, and
everything that was seen and promised since the last time must be explained by what was done.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.stress.actions import floors
from tests.stress.client import Client, Command, Outcome
from tests.stress.history import NEVER, Message
from tests.stress.outside import LETTERS, directory
from tests.stress.program import Program
from tests.stress.responses import Fault
from tests.stress.view import Entry, View
from tests.stress.world import DELETED, SHARED, Box, World

__all__ = ["Referee"]

_UID = re.compile(r",U=([0-9]+),V=([0-9a-f]+)")
_LOOKS = 400


class Referee:
    """Looks at everything through a connection of its own."""

    def __init__(self, world: World, port: int, account: Path) -> None:
        self._world, self._account = world, account
        self.client = Client(world, "referee", port, "condstore")
        #: By UIDVALIDITY: what the last look found.
        self._found: dict[int, dict[int, Entry]] = {}

    async def judge(self, programs: Sequence[Program]) -> None:
        """Raises Fault."""
        await self.client.connect()
        names = await self._names()
        self._found = {}
        for name in names:
            await self._settled(name)
        before = {validity: _flags(found) for validity, found in self._found.items()}
        for program in programs:
            self._compare(program, await program.settle())
        self._found = {}
        for name in names:
            await self._look(name)
        if before != (after := {validity: _flags(found) for validity, found in self._found.items()}):
            raise Fault(f"it changed while everybody was quiet: {before} {after}")
        self.client.drop()
        self._explain()

    async def _names(self) -> list[str]:
        (listed,) = await self.client.run([Command(b'LIST "" *')])
        return [
            one.data[2].decode() for one in listed.of("LIST")
            if b"\\Noselect" not in one.data[0] and b"\\NonExistent" not in one.data[0]
        ]  # fmt: skip

    # --- looking

    async def _look(self, name: str) -> View:
        """Everything in a mailbox."""
        view = View(self._world, "referee", name, read_only=True)
        known = floors(self._world)

        def done(_: Outcome) -> None:
            view.opened(*known)

        await self.client.run([Command(f'EXAMINE "{name}"'.encode(), done=done, opens=view)])
        if view.entries:
            items = b"(UID FLAGS MODSEQ RFC822.SIZE INTERNALDATE BODY.PEEK[])"
            (outcome,) = await self.client.run([Command(b"FETCH 1:* " + items, expunges=False, allowed=("OK", "NO"))])
            if outcome.ok and not all(entry.uid and entry.flags is not None for entry in view.entries):
                raise Fault(f"FETCH of all in {name} did not tell all, and yet OK")
        self._found[view.box.uid_validity] = {entry.uid: entry for entry in view.entries}
        return view

    async def _settled(self, name: str) -> None:
        """Look until the files are what the server shows: changes of files are noticed, and made, a moment later."""
        why = ""
        for _ in range(_LOOKS):
            view = await self._look(name)
            why = self._differs(view) if name in SHARED else ""
            if not why:
                top = max((entry.modseq for entry in view.entries), default=0)
                if view.modseq < top:
                    raise Fault(f"HIGHESTMODSEQ of {name} is {view.modseq}, and a message has {top}")
                return
            await asyncio.sleep(0.05)
        raise Fault(f"{name} never becomes what is on the disk: {why}")

    def _differs(self, view: View) -> str:
        path = directory(self._account, view.name)
        on_disk: dict[int, frozenset[str]] = {}
        for file in [*os.listdir(path / "new"), *os.listdir(path / "cur")]:
            match = _UID.search(file)
            if match is None or int(match[2], 16) != view.box.uid_validity or int(match[1]) in on_disk:
                return f"the file {file}"
            letters = file.partition(":2,")[2]
            on_disk[int(match[1])] = frozenset(LETTERS[letter] for letter in letters if letter in LETTERS)
        for uid, flags in on_disk.items():
            entry = self._found[view.box.uid_validity].get(uid)
            if entry is None:
                return f"UID {uid} is only on the disk"
            if entry.flags is None or entry.flags & {*LETTERS.values()} != flags:
                return f"UID {uid} has {entry.flags}, and on the disk {flags}"
        lacking = self._found[view.box.uid_validity].keys() - on_disk
        return f"UIDs {lacking} have no file" if lacking else ""

    def _compare(self, program: Program, view: View | None) -> None:
        if view is None:
            return
        found, who = self._found[view.box.uid_validity], program.client.who
        known = [entry.uid for entry in view.entries]
        if known != sorted(found):
            raise Fault(f"{who} knows {known} in {view.name}, there are {sorted(found)}")
        for entry in view.entries:
            there = found[entry.uid]
            if entry.flags != there.flags or (entry.modseq and entry.modseq != there.modseq):
                raise Fault(f"{who} knows {entry} in {view.name}, and it is {there}")

    # --- explaining

    def _explain(self) -> None:
        world = self._world
        for validity, box in world.boxes.items():
            if validity not in self._found and not box.doomed and any(m.kept != NEVER for m in box.messages.values()):
                raise Fault(f"mailbox {validity} is lost")
        self._born()
        for name, number, flag, write in world.file_flags:
            for message in world.boxes[world.names[name]].messages.values():
                # One that nobody ever saw can be any.
                if message.name in (number, 0):
                    message.write([flag], write)
        self._promises()
        for box, message, by, who in world.missing:
            if not box.doomed and not world.may_be_gone(box, message, by):
                raise Fault(f"{who} was not told of UID {message.uid} of {box.uid_validity} at {by}, and it was there")
        for validity, box in world.boxes.items():
            if not box.doomed:
                self._judge(box, self._found.get(validity, {}))
        for validity, box in world.boxes.items():
            self._settle(box, self._found.get(validity, {}))
        world.files_removed.clear()
        for gathered in (world.file_flags, world.missing, world.loose, world.promised):
            gathered.clear()

    def _born(self) -> None:
        """What appeared without an acknowledgement must be something that was sent, once."""
        world = self._world
        met: Counter[int] = Counter()
        for box in world.boxes.values():
            for message in box.messages.values():
                if message.kept != NEVER or not message.name:
                    continue
                met[message.name] += 1
                causes = world.loose.get(message.name, [])
                known = [flags for flags in causes if flags is not None]
                message.born = tuple(known) if len(known) == len(causes) else None
        for name, count in met.items():
            if count > len(world.loose.get(name, [])):
                raise Fault(f"message {name} is there {count} times more than anybody made it")

    def _promises(self) -> None:
        world = self._world
        marked = {number for _, number, flag, _ in world.file_flags if flag == DELETED}
        for name, numbers in world.promised.items():
            met = {message.name for message in world.boxes[world.names[name]].messages.values()}
            lost = {number for number in numbers - met - marked if not world.files_removed[name, number]}
            if lost:
                raise Fault(f"messages {sorted(lost)} were promised in {name}, and nobody ever saw them")

    def _judge(self, box: Box, found: dict[int, Entry]) -> None:
        world = self._world
        unexplained: list[Message] = []
        for uid, message in box.messages.items():
            if uid in found and message.gone != NEVER:
                raise Fault(f"UID {uid} of {box.uid_validity} was told to be gone at {message.gone}, and is there")
            if uid not in found:
                if not world.may_be_expunged(box, message, min(message.gone, world.now)):
                    unexplained.append(message)
                # Perhaps nobody was told: CLOSE says nothing.
                message.gone = min(message.gone, world.now)
            message.judge(f"mailbox {box.uid_validity}")
        self._files(box, unexplained)

    def _files(self, box: Box, unexplained: list[Message]) -> None:
        """No command can have removed these: the other program removed a file for each. One that nobody ever saw has no
        name, and is any of those that are left over when the others have theirs."""
        removed = self._world.removed_files(box)
        for message in sorted(unexplained, key=lambda one: not one.name):
            name = message.name or next(iter(+removed), 0)
            if not removed[name]:
                raise Fault(f"UID {message.uid} of {box.uid_validity} (message {message.name}) is lost")
            removed[name] -= 1

    def _settle(self, box: Box, found: dict[int, Entry]) -> None:
        box.dead |= box.messages.keys() - found.keys()
        for uid in box.dead:
            box.messages.pop(uid, None)
        for uid, entry in found.items():
            message = box.messages[uid]
            message.settle(entry.flags or frozenset())
            message.kept = min(message.kept, self._world.now)
        box.removals.clear()


def _flags(found: dict[int, Entry]) -> dict[int, tuple[frozenset[str] | None, int]]:
    return {uid: (entry.flags, entry.modseq) for uid, entry in found.items()}
