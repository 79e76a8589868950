"""One random mail program: what it does next, and how it goes on after its connection ended."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence

from tests.stress import actions, searches
from tests.stress.client import Client, Command, Gone, Outcome
from tests.stress.responses import Fault
from tests.stress.view import View
from tests.stress.world import FLAGS, SHARED, Box, World

__all__ = ["Program"]

_ITEMS = (
    "UID FLAGS", "FLAGS", "RFC822.SIZE FLAGS UID", "BODY.PEEK[] UID", "ENVELOPE BODYSTRUCTURE UID", "BODY[]",
    "BODY.PEEK[HEADER] UID FLAGS", "BODY.PEEK[TEXT] UID", "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)] INTERNALDATE UID",
    "BODY[TEXT]", "BODY.PEEK[]<0.100>",
)  # fmt: skip


class Program:
    """`stopping` says when to end; the connection is kept then, so that the next round goes on with it."""

    def __init__(self, world: World, client: Client, rng: random.Random, stopping: Callable[[], bool]) -> None:
        self.world, self.client, self.rng = world, client, rng
        #: Its own mailboxes, and their UIDVALIDITY.
        self.sides: dict[str, int] = {}
        self._stopping = stopping
        self._sides_known = True

    async def run(self) -> None:
        """Do something again and again until it is time to stop, or the server is killed."""
        while not self._stopping():
            try:
                await self.step()
            except Gone:
                if self.world.killing:
                    return

    async def step(self) -> None:
        """One thing that a mail program does."""
        client = self.client
        if not client.connected:
            await client.connect()
            if not self._sides_known:
                await self._look_for_sides()
        if client.view is None:
            await self._unselected()
            return
        await self._learn()
        view = client.view
        if view is not None and view.complete:
            client.saved[view.box.uid_validity] = view.save()
        if view is not None:
            await self._choose(view)

    async def settle(self) -> View | None:
        """Everything is quiet: hear all news, learn of all messages; the view."""
        if not self.client.connected:
            return None
        with contextlib.suppress(Gone):
            await self.client.run([actions.noop(self.client.view)])
            await self._learn()
            await self.client.run([actions.noop(self.client.view)])
        return self.client.view

    def killed(self) -> None:
        """The server was killed: nothing is known of commands that were not answered."""
        self.client.drop()
        self._sides_known = False

    # --- selecting

    async def _learn(self) -> None:
        for _ in range(5):
            view = self.client.view
            command = None if view is None else actions.learn(view, self.client.level)
            if command is None:
                return
            outcome, *_ = await self.client.run([command, Command(b"NOOP")])
            if outcome.ok:
                return

    def _name(self) -> str:
        side = f"side{self.rng.randrange(6)}"
        return self.rng.choice([*SHARED, "INBOX", "Shared", *self.sides, side])

    async def _select(self, name: str) -> None:
        world, client = self.world, self.client
        read_only = self.rng.random() < 0.15
        saved = None
        box = world.boxes.get(world.names.get(name, 0))
        if client.level == "qresync" and box is not None and self.rng.random() < 0.8:
            saved = client.saved.get(box.uid_validity)
        view = View(world, client.who, name, read_only, saved)
        floors = actions.floors(world)
        here = client.view

        def done(outcome: Outcome) -> None:
            if outcome.ok:
                view.opened(*floors)
                return
            client.view = None
            if name in SHARED or outcome.tagged.code != "NONEXISTENT":
                raise Fault(f"SELECT {name} got {outcome.tagged}")

        parameters = f" (QRESYNC ({saved.uid_validity} {saved.modseq}))" if saved is not None else ""
        text = f'{"EXAMINE" if read_only else "SELECT"} "{name}"{parameters}'
        if here is not None and here.complete:
            client.saved[here.box.uid_validity] = here.save()
        await client.run([Command(text.encode(), expunges=False, done=done, allowed=("OK", "NO"), opens=view)])

    async def _unselected(self) -> None:
        name = self._name()
        if self.rng.random() < 0.7:
            await self._select(name)
        else:
            await self.rng.choice([self._append, self._status, self._side])()

    # --- what is chosen

    async def _choose(self, view: View) -> None:
        ways: list[tuple[int, Callable[[View], Awaitable[None]]]] = [
            (14, self._fetch), (14, self._store), (5, self._expunge), (6, self._copy), (3, self._replace),
            (8, self._search), (7, self._noop), (6, self._idle), (8, self._group), (3, self._leave), (2, self._drop),
        ]  # fmt: skip
        others = [(10 if len(view.entries) < 30 else 2, self._append), (3, self._status), (3, self._side)]
        total = [weight for weight, _ in ways] + [weight for weight, _ in others]
        index = self.rng.choices(range(len(total)), total)[0]
        if index < len(ways):
            await ways[index][1](view)
        else:
            await others[index - len(ways)][1]()

    def _some(self, view: View) -> list[int]:
        known = [entry.uid for entry in view.entries if entry.uid and view.box.message(entry.uid).name]
        if not known:
            return []
        if self.rng.random() < 0.3:
            start = self.rng.randrange(len(known))
            return known[start : start + self.rng.randint(1, len(known))]
        return sorted(self.rng.sample(known, self.rng.randint(1, min(4, len(known)))))

    def _flags(self) -> list[str]:
        return self.rng.sample(FLAGS, self.rng.choice((1, 1, 1, 2, 3)))

    def _modseq(self, view: View, uids: Sequence[int]) -> int:
        known = [entry.modseq for entry in view.entries if entry.uid in uids and entry.modseq]
        return self.rng.choice(known) if known else 0

    def _one_fetch(self, view: View, *, by_uid: bool) -> Command | None:
        uids, since, vanished = self._some(view), 0, False
        items = self.rng.choice(_ITEMS)
        if self.client.level in ("condstore", "qresync") and self.rng.random() < 0.3:
            items, since = "UID FLAGS MODSEQ", self._modseq(view, uids)
            vanished = self.client.level == "qresync" and by_uid and since > 0
        return actions.fetch(view, uids, by_uid=by_uid, items=items, since=since, vanished=vanished) if uids else None

    def _one_store(self, view: View, *, by_uid: bool) -> Command | None:
        uids = self._some(view)
        if not uids or view.read_only:
            return None
        conditional = self.client.level in ("condstore", "qresync") and self.rng.random() < 0.4
        return actions.store(
            view, uids, self.rng.choice(("+", "+", "-", "-", "")), self._flags(), by_uid=by_uid,
            silent=self.rng.random() < 0.4, unchanged=self._modseq(view, uids) if conditional else 0,
        )  # fmt: skip

    def _one_search(self, view: View, *, by_uid: bool) -> Command | None:
        uids = self._some(view)
        esearch = self.client.level == "rev2" or self.rng.random() < 0.3
        if not uids or self.rng.random() < 0.5 or not by_uid:
            flag, without = self.rng.choice(FLAGS), self.rng.random() < 0.5
            return searches.search_flag(view, flag, by_uid=by_uid, esearch=esearch, without=without)
        if self.rng.random() < 0.5:
            return searches.search_uids(view, uids, esearch=esearch)
        return searches.search_message(view, uids[0], self.rng.choice(("HEADER", "BODY", "TEXT")))

    async def _fetch(self, view: View) -> None:
        if command := self._one_fetch(view, by_uid=self.rng.random() < 0.5):
            await self.client.run([command])

    async def _store(self, view: View) -> None:
        if command := self._one_store(view, by_uid=self.rng.random() < 0.5):
            await self.client.run([command])

    async def _search(self, view: View) -> None:
        if command := self._one_search(view, by_uid=self.rng.random() < 0.5):
            await self.client.run([command])

    async def _group(self, view: View) -> None:
        """Several commands at once: all by number, or all by UID with others between."""
        by_uid = self.rng.random() < 0.6
        made: list[Command | None] = []
        for _ in range(self.rng.randint(2, 6)):
            make = self.rng.choice([self._one_fetch, self._one_store, self._one_search])
            made.append(make(view, by_uid=by_uid))
            if by_uid and self.rng.random() < 0.2 and not view.read_only:
                made.append(actions.expunge(view, self._some(view) or None))
            if by_uid and self.rng.random() < 0.2:
                made.append(Command(b"NOOP"))
        if commands := [command for command in made if command is not None]:
            await self.client.run(commands)

    async def _expunge(self, view: View) -> None:
        if not view.read_only:
            uids = self._some(view) if self.rng.random() < 0.5 else []
            await self.client.run([actions.expunge(view, uids or None)])

    async def _copy(self, view: View) -> None:
        uids, move = self._some(view)[:5], not view.read_only and self.rng.random() < 0.5
        destination = self._name()
        if uids and not (move and destination == view.name):
            by_uid = self.rng.random() < 0.5
            await self.client.run([actions.copy(view, uids, destination, by_uid=by_uid, move=move)])

    async def _replace(self, view: View) -> None:
        if not view.read_only and (uids := self._some(view)):
            flags = frozenset(self._flags()) - {"\\Deleted"}
            by_uid = self.rng.random() < 0.5
            await self.client.run([actions.replace(view, uids[0], self._name(), flags, by_uid=by_uid)])

    async def _noop(self, view: View) -> None:
        await self.client.run([actions.noop(view)])

    async def _idle(self, _: View) -> None:
        await self.client.idle(lambda: self.rng.random() * 0.3, self._stopping)

    async def _leave(self, view: View) -> None:
        way = self.rng.randrange(4)
        if way == 0:
            self._keep(view)
            await self.client.run([Command(b"UNSELECT", expunges=False, done=self._left)])
        elif way == 1:
            await self.client.run([actions.close(view, self._left)])
        elif way == 2:
            await self._select(self._name())
        else:
            self._keep(view)
            await self.client.run([Command(b"NOOP")])
            self.client.drop()

    def _keep(self, view: View) -> None:
        if view.complete:
            self.client.saved[view.box.uid_validity] = view.save()

    def _left(self, _: Outcome) -> None:
        self.client.view = None

    async def _drop(self, view: View) -> None:
        """Hang up with commands on their way."""
        made = [make(view, by_uid=True) for make in (self._one_fetch, self._one_store, self._one_fetch)]
        commands = [command for command in made if command is not None]
        for number, command in enumerate(commands):
            self.client.write(b"drop%d %b\r\n" % (number, command.text))
            command.lost()
        self.client.drop()

    async def _append(self) -> None:
        count, wait = self.rng.choice((1, 1, 1, 2, 3)), self.rng.random() < 0.3
        flags = frozenset(self._flags()) - {"\\Deleted"} if self.rng.random() < 0.5 else frozenset()
        command, pieces = actions.append(self.world, self._name(), count, flags, wait=wait)
        if wait:
            await self.client.talk(command, pieces)
        else:
            await self.client.run([command])

    async def _status(self) -> None:
        await self.client.run([searches.status(self.world, self._name())])

    # --- its own mailboxes, which others use as well

    async def _side(self) -> None:
        mine = f"side{self.client.who.removeprefix('c')}"
        if not self.sides:
            await self._create(mine)
        elif self.rng.random() < 0.5:
            await self._rename(mine)
        else:
            await self._delete()

    async def _create(self, name: str) -> None:
        before = max(self.world.boxes, default=0)
        created: list[bool] = []

        def answered(outcome: Outcome) -> None:
            # It is there already if it was made as the parent of another.
            if outcome.ok:
                created.append(True)
            elif outcome.tagged.code != "ALREADYEXISTS":
                raise Fault(f"CREATE got {outcome.tagged}")

        def done(outcome: Outcome) -> None:
            words = outcome.of("STATUS")[0].data[1]
            self.sides[name] = int(words[1])
            if created and self.sides[name] <= before:
                raise Fault(f"the new mailbox {name} has an old UIDVALIDITY: {self.sides[name]} after {before}")

        status = Command(f'STATUS "{name}" (UIDVALIDITY)'.encode(), done=done)
        create = Command(f'CREATE "{name}"'.encode(), done=answered, lost=self._unsure, allowed=("OK", "NO"))
        await self.client.run([create, status])

    async def _rename(self, mine: str) -> None:
        old, new = next(iter(self.sides)), f"{mine}{self.rng.choice(('', '/a', '/b', ' c', 'd'))}"
        if new in self.sides or new.startswith(old + "/") or old.startswith(new + "/"):
            return

        def answered(outcome: Outcome) -> None:
            if outcome.ok:
                # With all beneath it.
                moved = [name for name in self.sides if name == old or name.startswith(old + "/")]
                self.sides |= {new + name.removeprefix(old): self.sides.pop(name) for name in moved}
            elif outcome.tagged.code != "ALREADYEXISTS":
                raise Fault(f"RENAME got {outcome.tagged}")

        def done(outcome: Outcome) -> None:
            validity = self.sides.get(new)
            if validity and int(outcome.of("STATUS")[0].data[1][1]) != validity:
                raise Fault(f"RENAME of {old} to {new} changed UIDVALIDITY")

        status = Command(f'STATUS "{new}" (UIDVALIDITY)'.encode(), done=done)
        rename = Command(
            f'RENAME "{old}" "{new}"'.encode(), done=answered, lost=self._unsure, allowed=("OK", "NO")
        )
        await self.client.run([rename, status])

    async def _delete(self) -> None:
        name = next(iter(self.sides))
        self._box(name).doomed = True

        def done(_: Outcome) -> None:
            del self.sides[name]

        await self.client.run([Command(f'DELETE "{name}"'.encode(), done=done, lost=self._unsure)])

    def _box(self, name: str) -> Box:
        return self.world.box(self.sides[name])

    def _unsure(self) -> None:
        self._sides_known = False

    async def _look_for_sides(self) -> None:
        mine = f"side{self.client.who.removeprefix('c')}"
        patterns = " ".join(f'"{mine}{end}" "{mine}{end}/*"' for end in ("", " c", "d"))
        (listed,) = await self.client.run([Command(f'LIST "" ({patterns})'.encode())])
        names = [one.data[2].decode() for one in listed.of("LIST") if b"\\Noselect" not in one.data[0]]
        before, self.sides = self.sides, {}
        for name in names:
            (told,) = await self.client.run([Command(f'STATUS "{name}" (UIDVALIDITY)'.encode())])
            self.sides[name] = int(told.of("STATUS")[0].data[1][1])
        lost = [name for name, validity in before.items() if validity not in self.sides.values()]
        if any(not self.world.box(before[name]).doomed for name in lost):
            raise Fault(f"mailboxes are lost: {lost}, there are {self.sides}")
        self._sides_known = True
