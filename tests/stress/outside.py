"""Who else changes mailboxes: deliveries by SMTP, and another program on the Maildir, as mutt and mbsync do it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.helpers.daemon import DOMAIN
from tests.helpers.smtp import AsyncSmtp, Closed
from tests.stress.history import NEVER, Write
from tests.stress.mail import content, name_in
from tests.stress.responses import Fault
from tests.stress.world import DELETED, World

__all__ = ["LETTERS", "OtherProgram", "deliver", "directory"]

#: Flags of Maildir names.
LETTERS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": DELETED}


async def deliver(world: World, port: int, rng: random.Random, stopping: Callable[[], bool]) -> None:
    """Messages to anna, one after the other."""
    with contextlib.suppress(OSError, Closed):
        async with AsyncSmtp(port) as smtp:
            await smtp.command("EHLO stress.test")
            while not stopping():
                name = world.new_name()
                # Known before it can be seen.
                world.perhaps(name, frozenset())
                reply = await smtp.message("s@sender.test", [f"anna@{DOMAIN}"], content(name))
                if reply.code != 250:
                    raise Fault(f"message {name} was refused: {reply}")
                world.promised.setdefault("INBOX", set()).add(name)
                await asyncio.sleep(rng.random() * 0.3)
            return
    if not world.killing:
        raise Fault("the SMTP connection ended")


def directory(account: Path, name: str) -> Path:
    """The Maildir of a shared mailbox."""
    return account if name == "INBOX" else account / f".{name}"


class OtherProgram:
    """Adds, flags and removes files of two mailboxes. Each step is whole before anybody else has a turn."""

    def __init__(self, world: World, account: Path, rng: random.Random) -> None:
        self._world, self._account, self._rng = world, account, rng
        self._count = 0

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Until it is time to stop."""
        while not stopping():
            box = self._rng.choice(("INBOX", "Pool"))
            self._rng.choices((self._add, self._flag, self._remove), (2, 4, 1))[0](box, directory(self._account, box))
            await asyncio.sleep(self._rng.random() * 0.3)

    def _add(self, box: str, path: Path) -> None:
        if not (path / "tmp").is_dir():
            return
        name = self._world.new_name()
        self._count += 1
        base = f"170000{self._count:04}.M{name}P1.elsewhere" + self._rng.choice(("", ",U=7"))
        data = content(name) if self._rng.random() < 0.7 else content(name).replace(b"\r\n", b"\n")
        (path / "tmp" / base).write_bytes(data)
        (path / "tmp" / base).chmod(0o600)
        letters = "".join(letter for letter in LETTERS if letter != "T" and self._rng.random() < 0.3)
        if self._rng.random() < 0.5:
            letters, target = "", path / "new" / base
        else:
            target = path / "cur" / f"{base}:2,{letters}"
        (path / "tmp" / base).rename(target)
        self._world.perhaps(name, frozenset(LETTERS[letter] for letter in letters))
        self._world.promised.setdefault(box, set()).add(name)

    def _file(self, path: Path) -> tuple[Path, int] | None:
        """A random file and the number of its message."""
        with contextlib.suppress(FileNotFoundError):
            names = sorted(os.listdir(path / "cur")) + sorted(f"../new/{name}" for name in os.listdir(path / "new"))
            if names:
                file = path / "cur" / self._rng.choice(names)
                head = file.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[0]
                return file, name_in(head.replace(b"\n", b"\r\n") + b"\r\n")
        return None

    def _flag(self, box: str, path: Path) -> None:
        found = self._file(path)
        if found is None:
            return
        file, name = found
        base, _, letters = file.name.partition(":2,")
        letter = self._rng.choice("DFRSSST")
        value = letter not in letters
        new = "".join(sorted({*letters} ^ {letter}))
        target = path / "cur" / f"{base}:2,{new}"
        if target.exists():
            return
        with contextlib.suppress(FileNotFoundError):
            file.rename(target)
            write = Write(self._world.tick(), NEVER, value, sure=False)
            self._world.file_flags.append((box, name, LETTERS[letter], write))

    def _remove(self, box: str, path: Path) -> None:
        found = self._file(path)
        if found is not None:
            with contextlib.suppress(FileNotFoundError):
                found[0].unlink()
                self._world.files_removed[box, found[1]] += 1
