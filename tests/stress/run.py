"""The whole: rounds of random commands, at the end of each of which everything is compared; some end with a kill."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any

from tests.helpers.daemon import DOMAIN, Daemon
from tests.stress.client import Client, Command
from tests.stress.outside import OtherProgram, deliver
from tests.stress.program import Program
from tests.stress.referee import Referee
from tests.stress.responses import Fault
from tests.stress.world import SHARED, World

__all__ = ["Stress"]

_LEVELS = ("qresync", "plain", "condstore", "qresync", "rev2")
_LINES = 60


class Stress:
    """`clients` programs on one account of a running server. The seed decides what they do, the machine when."""

    def __init__(self, daemon: Daemon, *, seed: int, clients: int) -> None:
        self._daemon, self._seed = daemon, seed
        self._rng = random.Random(seed)
        self.world = World()
        self._stopped = False
        account, port = daemon.data / DOMAIN / "anna", daemon.ports["imap"]
        self._programs = [
            Program(
                self.world, Client(self.world, f"c{at}", port, _LEVELS[at % len(_LEVELS)]), random.Random(seed + at),
                self._stopping,
            )
            for at in range(clients)
        ]  # fmt: skip
        self._referee = Referee(self.world, port, account)
        self._other = OtherProgram(self.world, account, random.Random(seed - 1))
        self.kills = 0

    def _stopping(self) -> bool:
        return self._stopped

    def run(self, seconds: float, kill_every: int) -> None:
        """Rounds of a few seconds for so long; each `kill_every`th ends with kill -9. Raises Fault, all said."""
        try:
            asyncio.run(self._run(seconds, kill_every))
        except* (Fault, TimeoutError) as group:
            first: BaseException = group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise Fault(self._report(first)) from first

    async def _run(self, seconds: float, kill_every: int) -> None:
        end, rounds = time.monotonic() + seconds, 0
        client = self._programs[0].client
        await client.connect()
        await client.run([Command(f"CREATE {name}".encode()) for name in SHARED[1:]])
        while time.monotonic() < end:
            rounds += 1
            length = max(0.5, min(self._rng.uniform(2, 8), end - time.monotonic()))
            await self._round(length, kill=rounds % kill_every == 0)
            await self._of("referee", self._referee.judge(self._programs))
        for program in self._programs:
            program.client.drop()

    async def _round(self, seconds: float, *, kill: bool) -> None:
        """Everybody at once, for so long."""
        self._stopped, port = False, self._daemon.ports["smtp"]
        async with asyncio.TaskGroup() as group:
            for program in self._programs:
                group.create_task(self._of(program.client.who, program.run()))
            for _ in range(2):
                group.create_task(deliver(self.world, port, self._rng, self._stopping))
            group.create_task(self._other.run(self._stopping))
            await asyncio.sleep(seconds)
            if kill:
                self.kills += 1
                self.world.killing = True
                self._daemon.kill9()
            self._stopped = True
        if kill:
            for program in self._programs:
                program.killed()
            await asyncio.to_thread(self._daemon.start)
        self.world.killing = False

    @staticmethod
    async def _of(who: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (Fault, TimeoutError) as fault:
            raise Fault(f"{who}: {fault or 'no answer'}") from fault

    def _report(self, fault: BaseException) -> str:
        """The fault, how to do the same again, and what was said last by the client that it is about, and by all."""
        clients = [*(program.client for program in self._programs), self._referee.client]
        lines = [(at, client.who, side, text) for client in clients for at, side, text in client.log]
        everything = self._daemon.root / "stress.log"
        everything.write_text("\n".join(f"{at} {who} {side} {text!r}" for at, who, side, text in sorted(lines)))
        about = str(fault).partition(":")[0]
        own = [f"{at} {side} {text!r}" for at, who, side, text in sorted(lines) if who == about][-_LINES:]
        head = f"seed {self._seed}, {len(self._programs)} clients, {self.kills} kills; all that was said: {everything}"
        return "\n".join([str(fault), head, *own])
