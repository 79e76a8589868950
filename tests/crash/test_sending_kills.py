"""F09, G01, G05: the whole server is killed, or its disk fails, while it takes mail in, sends it and reports on it.

The server submits to itself (sending_child.py) and sends to a receiver that counts, refuses, puts off and hangs up. It
is started again until its queue is empty. Then: nothing that was acknowledged is lost; nobody has more copies than
there were crashes, and each was logged as a possible duplicate; each failure was reported once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.app.life import EXIT_DISK
from mailserver.app.paths import submit_link
from tests.conftest import DaemonMaker
from tests.helpers.counting_receiver import CountingReceiver
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.forks import Forks, said
from tests.helpers.sent_mail import SentMail, Submitted, messages, submit_one
from tests.helpers.smtp import AsyncSmtp, Closed
from tests.helpers.strace import STATE_CHANGING, needs_strace

CHILD = Path(__file__).parent / "sending_child.py"
#: Of the calls of a run, those that can make a difference: what is kept, and what is said to others.
CALLS = (*STATE_CHANGING, "sendto", "sendmsg", "connect")
QUIET = ("-o", "/dev/null", "-e", "trace=unlink")
Place = tuple[str, int]
#: What fails, by error.
CALLS_OF = {
    "EIO": ("fdatasync", "fsync", "pwrite", "unlink"),
    "ENOSPC": ("writev", "pwrite", "rename", "fdatasync"),
    "EMFILE": ("open",),
}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as forks:
        yield forks


@pytest.fixture(scope="module")
def receiver() -> Iterator[CountingReceiver]:
    with CountingReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, receiver: CountingReceiver, forks: Forks) -> Path:
    """A server with an account, which has run once."""
    root = tmp_path_factory.mktemp("template")
    Daemon(root, settings={"queue": queue_settings(receiver)}).add_account(f"anna@{DOMAIN}")
    assert forks.run(root, *QUIET) == 0, said(root)
    return root


def queue_settings(receiver: CountingReceiver) -> str:
    """Everything goes to the receiver, and is soon tried again."""
    return f'relay = "127.0.0.1:{receiver.port}"\nallow_private_addresses = true\nretry = ["100ms"]'


class Server:
    """One server over its lives. `number` tells its mail from that of others."""

    def __init__(self, root: Path, template: Path, forks: Forks, receiver: CountingReceiver, number: object) -> None:
        self.root = Path(shutil.copytree(template, root))
        config = self.root / "config.toml"
        config.write_text(config.read_text().replace(str(template), str(root)))
        self._forks = forks
        self.mail = SentMail(receiver, submitted=messages(number))
        self._todo = self.root / "submit"
        self._todo.write_text("\n".join(map(str, self.mail.submitted)))

    def live(self, place: Place | None = None, fault: str = "signal=SIGKILL") -> int:
        """One life, perhaps with a fault; its exit code."""
        code = self._forks.inject(self.root, place, fault) if place else self._forks.run(self.root, *QUIET)
        heard = said(self.root)
        self._todo.unlink(missing_ok=True)
        self.mail.logs += heard
        self.mail.acked.update(re.findall(r"^acked (\S+)$", heard, re.MULTILINE))
        self.mail.crashes += code in (-9, EXIT_DISK)
        return code

    def finish(self) -> None:
        """Live until all is done; then everything is as it should be."""
        assert self.live() == 0, said(self.root)
        assert said(self.root).count("\nempty\n") == 1, said(self.root)
        self.mail.check(self.root / "maildir")
        assert "Traceback" not in self.mail.logs, self.mail.logs
        shutil.rmtree(self.root)


def killed_everywhere(
    tmp_path: Path, template: Path, forks: Forks, receiver: CountingReceiver, sample: int | None
) -> str:
    """At each place, or at so many of each call; what came of it."""
    chance = random.Random(9)
    unharmed = Server(tmp_path / "unharmed", template, forks, receiver, "unharmed")
    places = forks.places(unharmed.root, CALLS)
    unharmed.mail.acked.update(re.findall(r"^acked (\S+)$", said(unharmed.root), re.MULTILINE))
    unharmed.mail.logs = said(unharmed.root)
    assert len(unharmed.mail.acked) == len(unharmed.mail.submitted)
    unharmed.mail.check(unharmed.root / "maildir")
    if sample is not None:
        by_call: dict[str, list[Place]] = {}
        for place in places:
            by_call.setdefault(place[0], []).append(place)
        places = [place for some in by_call.values() for place in chance.sample(some, min(sample, len(some)))]
    figures: Counter[str] = Counter()
    for call, when in places:
        server = Server(tmp_path / f"{call}{when}", template, forks, receiver, f"{call}{when}")
        figures["kills"] += server.live((call, when)) == -9
        if chance.random() < 0.3:
            # And once more while it cleans up.
            figures["kills"] += server.live(chance.choice(places)) == -9
        server.finish()
        figures["acknowledged"] += len(server.mail.acked)
        figures["came again"] += server.mail.again
    assert figures["kills"] > len(places) // 2
    return ", ".join(f"{count} {name}" for name, count in figures.items())


@needs_strace
@pytest.mark.timeout(300)
def test_f09_g01_killed_at_some_calls(
    tmp_path: Path, template: Path, forks: Forks, receiver: CountingReceiver
) -> None:
    killed_everywhere(tmp_path, template, forks, receiver, 1)


@needs_strace
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_f09_g01_killed_at_every_call(
    tmp_path: Path, template: Path, forks: Forks, receiver: CountingReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = killed_everywhere(tmp_path, template, forks, receiver, None)
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")


@needs_strace
@pytest.mark.timeout(300)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EMFILE"])
def test_g05_the_disk_fails_while_mail_is_sent(
    tmp_path: Path, template: Path, forks: Forks, receiver: CountingReceiver, error: str
) -> None:
    """The sender hears 4xx; when the trouble is over it goes on by itself; a failed sync ends the process."""
    refused: Counter[str] = Counter()
    for call in CALLS_OF[error]:
        server = Server(tmp_path / call, template, forks, receiver, f"{error}{call}")
        (server.root / "fail").write_text(f"{call} {error} 2 9")
        code = server.live()
        heard = said(server.root)
        assert code == 0 or (code == EXIT_DISK and (error == "EIO" or call == "fdatasync")), heard
        for line in re.findall(r"^refused .*$", heard, re.MULTILINE):
            assert re.match(r"refused \S+ 4\d\d ", line), line
            refused[call] += 1
        if code == 0:
            assert len(server.mail.acked) == len(server.mail.submitted)
        (server.root / "fail").unlink()
        server.finish()
    assert set(refused) >= set(CALLS_OF[error]) - {"unlink", "pwrite"}


class Load:
    """Fifty programs on this machine that send, over all lives of one server."""

    def __init__(self, daemon: Daemon, receiver: CountingReceiver, seed: int) -> None:
        self._daemon = daemon
        self._chance = random.Random(seed)
        self.mail = SentMail(receiver)
        self._refused: list[str] = []

    def message(self) -> Submitted:
        """The next one, of any kind."""
        number = f"{len(self.mail.submitted)}x{self._chance.randrange(1 << 30)}"
        one = self._chance.choice(messages(number))
        if one.recipients[0].startswith(("cut", "drop")) and self._chance.random() < 0.9:
            one = messages(number)[0]
        self.mail.submitted.append(one)
        return one

    async def run_and_kill(self, answers: int) -> None:
        """All of them send until so many answers came."""
        enough = asyncio.Event()
        count = 0

        async def submit() -> None:
            nonlocal count
            async with AsyncSmtp(submit_link(self._daemon.data)) as smtp:
                await smtp.command("EHLO program.test")
                while True:
                    one = self.message()
                    reply = await submit_one(smtp, one.name, one.recipients)
                    if reply.code == 250:
                        self.mail.acked.add(one.name)
                    else:
                        self._refused.append(str(reply))
                    count += 1
                    if count >= answers:
                        enough.set()

        async def while_alive() -> None:
            with contextlib.suppress(OSError, Closed, asyncio.IncompleteReadError):
                await submit()

        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(while_alive())
            async with asyncio.timeout(60):
                await enough.wait()
            self._daemon.kill9()
        self.mail.crashes += 1

    def finish(self) -> str:
        """Wait until all was sent, and look at it; the figures."""
        deadline = time.monotonic() + 600
        while self._daemon.command_json("queue", "list"):
            assert time.monotonic() < deadline, self._daemon.command("queue", "list")
            time.sleep(0.5)
        assert self._daemon.stop() == 0
        self.mail.logs = self._daemon.log_text()
        self.mail.check(self._daemon.data)
        assert not self._refused, self._refused[:5]
        mail = self.mail
        return f"{mail.crashes} kills, {len(mail.acked)} acknowledged, 0 lost, {mail.again} came again, all logged"


def kill_often(make_daemon: DaemonMaker, receiver: CountingReceiver, kills: int, seed: int) -> str:
    with make_daemon(settings={"queue": queue_settings(receiver)}) as daemon:
        load = Load(daemon, receiver, seed)
        chance = random.Random(seed)
        for _ in range(kills):
            asyncio.run(load.run_and_kill(chance.randint(1, 150)))
            daemon.start()
        return load.finish()


@pytest.mark.timeout(400)
def test_random_kills_while_fifty_send(make_daemon: DaemonMaker, receiver: CountingReceiver) -> None:
    kill_often(make_daemon, receiver, 4, seed=4)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_500_random_kills_while_fifty_send(
    make_daemon: DaemonMaker, receiver: CountingReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = kill_often(make_daemon, receiver, 500, seed=5)
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")
