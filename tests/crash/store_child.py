"""The Maildir store under fire: a server of forks, each of which does one of everything and notes what it was promised.

Imports cost more than all operations together, so they happen once. Protocol on standard input and output, by line:
`start DIRECTORY` → `PID`; then, when whoever asked has taken hold of that process, `go` → `STATUS` of its end.
Promises go to `DIRECTORY.acks`, a line of JSON each; what was written there survives the death of its writer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from unittest import mock

import structlog

from mailserver.model.errors import MailError
from mailserver.model.flags import SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.rights import RightsChange, parse_rights
from mailserver.net.workers import Workers
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Target
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings

ANNA, BEN = AccountId("anna@example.test"), AccountId("ben@example.test")
LR = parse_rights("lr")
NOTE = b"x" * 5_000
# Work for later is done at the end, so that every run makes the same calls.
SETTINGS = StorageSettings(commit_threads=1, read_threads=1, flush_delay=10.0, fill_delay=10.0, watch_interval=60.0)


def message(name: str) -> bytes:
    return b"Subject: %b\r\nMessage-ID: <%b@example.test>\r\n\r\nbody of %b\r\n" % ((name.encode(),) * 3)


class OneWorker:
    """All pools of a store as one thread: strace counts calls per thread."""

    def __init__(self) -> None:
        self._workers: Workers | None = None

    def __call__(self, loop: asyncio.AbstractEventLoop, name: str, threads: int) -> Workers:
        if self._workers is None:
            self._workers = Workers(loop, "all", 1)
        return self._workers


async def deliver(store: MaildirStore, name: str, *targets: Target) -> list[int]:
    async with store.begin() as content:
        await content.write(message(name))
        results = await store.commit(content, targets)
    uids = []
    for result in results:
        if isinstance(result, MailError):
            raise result
        uids.append(result.uid)
    return uids


async def prepare(root: Path) -> None:
    """A store with a past."""
    async with MaildirStore(root, SETTINGS, "mx.example.test", SystemClock()) as store:
        for name in ("m1", "m2", "m3", "m4", "m5"):
            await deliver(store, name, Target(account=ANNA))
        await deliver(store, "b1", Target(account=BEN))
        anna = await store.open_account(ANNA)
        await anna.create("A/b")
        await deliver(store, "ab", Target(account=ANNA, mailbox="A/b"))
        async with anna.open("INBOX"):
            pass


async def everything(root: Path, say: int) -> None:
    """One of each operation; the promise of each is written before the next begins."""

    def ack(operation: str, *facts: object) -> None:
        os.write(say, json.dumps([operation, *facts]).encode() + b"\n")

    async def attempt(operation: str, work: object) -> None:
        try:
            result = await work  # type: ignore[misc]
        except MailError as error:
            ack("refused", operation, error.detail)
        else:
            ack(operation, result)

    mock.patch("mailserver.storage.maildir.store.Workers", OneWorker()).start()
    async with MaildirStore(root, SETTINGS, "mx.example.test", SystemClock()) as store:
        await attempt("deliver", deliver(store, "d1", Target(account=ANNA), Target(account=BEN)))
        anna = await store.open_account(ANNA)
        async with store.begin() as first, store.begin() as second:
            await first.write(message("a1"))
            await second.write(message("a2"))
            flags = frozenset({SEEN, "$Work"})
            target = Target(account=ANNA, mailbox="A", flags=flags, date=1_000_000_000, into_new=False)
            await attempt("append", uids(store.commit_all(ANNA, [(first, target), (second, target)])))
        try:
            async with anna.open("INBOX") as inbox:
                await attempt("store", changed(inbox.set_flags([1, 2], FlagChange.ADD, frozenset({SEEN}))))
                await attempt("copy", copied(inbox.copy([1, 2], "A")))
                await attempt("move", copied(inbox.move([3], "A")))
                await attempt("expunge", gone(inbox.expunge([4])))
                async with store.begin() as new:
                    await new.write(message("r1"))
                    draft = Target(account=ANNA, into_new=False)
                    await attempt("replace", replaced(store.replace(inbox, 5, new, draft)))
        except MailError as error:
            ack("refused", "open", error.detail)
        await attempt("annotate", nothing(anna.annotate("A", {"/private/comment": NOTE})))
        await attempt("grant", nothing(anna.grant("A", BEN, RightsChange.REPLACE, LR)))
        await attempt("create", nothing(anna.create("New/Sub")))
        await attempt("rename", nothing(anna.rename("A", "B")))
        await attempt("delete", nothing(anna.delete("New/Sub")))
    ack("closed")


async def uids(work: object) -> list[int]:
    return [stored.uid for stored in await work]  # type: ignore[misc]


async def copied(work: object) -> list[int]:
    return list((await work).target)  # type: ignore[misc]


async def changed(work: object) -> list[int]:
    return list((await work).changed)  # type: ignore[misc]


async def gone(work: object) -> list[int]:
    return list(await work)  # type: ignore[misc]


async def replaced(work: object) -> list[int]:
    return [(await work).uid]  # type: ignore[misc]


async def nothing(work: object) -> None:
    await work  # type: ignore[misc]


def reply(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def serve() -> None:
    """Fork a child for each line `start DIRECTORY`, let it begin at `go`."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        root = Path(line.split(" ", 1)[1].strip())
        waiting, going = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            try:
                say = os.open(f"{root}.acks", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
                os.read(waiting, 1)
                asyncio.run(everything(root, say))
                code = 0
            finally:
                os._exit(code)
        reply(child)
        sys.stdin.readline()
        os.write(going, b"g")
        _, status = os.waitpid(child, 0)
        os.close(waiting)
        os.close(going)
        reply(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve()
