"""The whole server, which submits messages to itself and works until its queue is empty. Forked for each run.

What is to be submitted stands in `ROOT/submit`, a line each: the Message-ID and the recipients. It says `acked` with
the Message-ID of each that was taken, and `refused` each time that one was not; what may be tried again is tried again.
`ROOT/fail` may name a call of the module os, an errno, and which ones of the calls from then on fail.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailserver.app import life, run
from mailserver.queue import commit, disk, settling
from tests.helpers.daemon import PASSWORD
from tests.helpers.forks import serve
from tests.helpers.sent_mail import ANNA, submit_one
from tests.helpers.smtp import AsyncSmtp, Closed

_services = life._services


class Driver:
    """A service of the server. It stops it when all is done."""

    name = "driver"

    def __init__(self, app: Any, root: Path, say: Callable[[str], object]) -> None:
        self._app = app
        self._root = root
        self._say = say

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        ready()
        if (fault := self._root / "fail").exists():
            fail(*fault.read_text().split())
        todo = self._root / "submit"
        if todo.exists():
            await self._submit([line.split() for line in todo.read_text().splitlines()])
        await self._app.queue.recovered()
        while len(self._app.queue) or self._app.runner._tasks:
            if stopping.is_set():
                return
            await asyncio.sleep(0.02)
        self._say("empty")
        os.kill(os.getpid(), signal.SIGTERM)
        await stopping.wait()

    async def _submit(self, messages: list[list[str]]) -> None:
        port = self._app.addresses()["submission"][0][1]
        async with AsyncSmtp(port) as smtp:
            await smtp.command("EHLO driver.test")
            secret = base64.b64encode(f"\0{ANNA}\0{PASSWORD}".encode())
            assert (await smtp.command(b"AUTH PLAIN " + secret + b"\r\n")).code == 235
            while messages:
                name, *recipients = message = messages.pop(0)
                try:
                    reply = await submit_one(smtp, name, recipients)
                except Closed:
                    return
                self._say(f"acked {name}" if reply.code == 250 else f"refused {name} {reply}")
                if 400 <= reply.code < 500 and not self._app.queue.given_up:
                    messages.append(message)


def fail(call: str, error: str, first: str, last: str) -> None:
    """`os.<call>` fails from its `first` to its `last` time (from 1)."""
    number, real = itertools.count(1), getattr(os, call)
    code = getattr(errno, error)

    def failing(*arguments: Any, **named: Any) -> Any:
        if int(first) <= next(number) <= int(last):
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    setattr(os, call, failing)


def work(root: Path, fd: int) -> int:
    def services(app: Any, *rest: Any) -> list[Any]:
        return [*_services(app, *rest), Driver(app, root, lambda words: os.write(fd, f"{words}\n".encode()))]

    life._services = services  # type: ignore[assignment]
    os.chdir(root)
    return run.run(str(root / "config.toml"))


if __name__ == "__main__":
    # strace counts per thread.
    disk._THREADS = disk._QUICK_THREADS = 1
    commit._PATIENCE = 0.0
    settling.DISK_AGAIN = 0.2
    serve(work)
