"""H01, H09: the store is killed, or its disk fails, at every system call that changes something.

A kill leaves what the kernel had: what was written is there, synced or not. That a promise also waits for the fsyncs
is the business of test_store_fsync.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.mailbox import INBOX
from mailserver.model.metadata import Annotations
from mailserver.model.rights import Acl
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Target
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.crash.store_child import ANNA, BEN, LR, NOTE, deliver, message, prepare
from tests.helpers.strace import STATE_CHANGING, needs_strace

CHILD = Path(__file__).parent / "store_child.py"
#: What the child makes no difference by: its own notes, and wake-ups between threads.
CALLS = tuple(call for call in STATE_CHANGING if call != "write")


class Forks:
    """The server of forks, and strace on each of its children."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        self._server = subprocess.Popen(
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def run(self, root: Path, *strace: str) -> int:
        """The child's exit status (negative: the signal) after everything in `root` was done under strace."""
        pid = self._ask(f"start {root}")
        command = ["strace", "-f", "-y", "-s", "64", *strace, "-p", pid]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            assert "attached" in line, line
            status = int(self._ask("go"))
            tracer.stderr.read()
        return status

    def _ask(self, line: str) -> str:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline().strip()

    def close(self) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(10)
        self._server.stdout.close()


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    server = Forks()
    yield server
    server.close()


@pytest.fixture(scope="module")
def used_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store") / "used"
    root.mkdir()
    asyncio.run(prepare(root))
    return root


def promises(root: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in Path(f"{root}.acks").read_text().splitlines()]
    return {line[0]: line[1] if len(line) > 1 else None for line in lines if line[0] != "refused"}


@dataclass
class State:
    """What a client would see: mailbox → UID → (subject, flags)."""

    boxes: dict[str, dict[int, tuple[str, frozenset[str]]]] = field(default_factory=dict)
    validity: dict[str, int] = field(default_factory=dict)
    dates: dict[str, int] = field(default_factory=dict)
    acls: dict[str, Acl] = field(default_factory=dict)
    notes: dict[str, Annotations] = field(default_factory=dict)

    def subjects(self, *names: str) -> list[str]:
        return [subject for name in names for subject, _ in self.boxes.get(name, {}).values()]


async def look(store: MaildirStore, name: Any) -> State:
    state = State()
    account = await store.open_account(name)
    for info in await account.list_mailboxes():
        async with account.open(info.name) as box:
            table = box.table
            assert list(table.uids) == sorted(set(table.uids))
            assert all(uid < box.uid_next for uid in table.uids)
            found = {}
            async for batch in box.read_many(list(table.uids)):
                for uid, data in batch:
                    subject = data.split(b"\r\n")[0].removeprefix(b"Subject: ").decode()
                    assert data == message(subject), "a message is whole or not there"
                    at = table.find(uid)
                    found[uid] = (subject, box.flag_table.sets[table.flags[at]])
                    state.dates[subject] = table.dates[at]
            assert list(found) == list(table.uids), "every message that is shown can be read"
            status = await account.status(info.name)
            assert (status.messages, status.uid_next) == (len(found), box.uid_next)
            state.boxes[info.name], state.validity[info.name] = found, box.uid_validity
            state.acls[info.name], state.notes[info.name] = info.acl, await account.annotations(info.name)
    return state


def open_store(root: Path) -> MaildirStore:
    return MaildirStore(root, StorageSettings(), "mx.example.test", SystemClock())


def remove_indexes(root: Path) -> None:
    for index in root.glob("*/*/index.db*"):
        index.unlink()


async def after_restart(root: Path) -> tuple[State, State]:
    async with open_store(root) as store:
        anna, ben = await look(store, ANNA), await look(store, BEN)
        assert not any(anna.acls.values()) or await store.sharers(BEN) == [ANNA], "a right is found by who has it"
        (uid,) = await deliver(store, "later", Target(account=ANNA))
        assert uid > max(anna.boxes[INBOX], default=0)
    remove_indexes(root)
    # Stopped cleanly, an index is only a saving.
    async with open_store(root) as store:
        again = await look(store, ANNA)
        del again.boxes[INBOX][uid], again.dates["later"]
        assert again == anna
        assert (await look(store, BEN)) == ben
    return anna, ben


def check(root: Path, before: State) -> dict[str, Any]:
    """Every promise is kept, and what was not promised is whole or absent. Returns the promises."""
    acked = promises(root)
    anna, ben = asyncio.run(after_restart(root))
    boxes = anna.boxes
    names = [name for name in boxes if name in ("A", "B")]
    assert len(names) == 1, "a renamed tree is fully old or fully new"
    (name,) = names
    assert f"{name}/b" in boxes and anna.subjects(f"{name}/b") == ["ab"]
    assert anna.validity[name] == before.validity["A"] and anna.validity[INBOX] == before.validity[INBOX]
    assert {"m1", "m2"} <= set(anna.subjects(INBOX)), "copied messages stay"
    assert "m3" in anna.subjects(INBOX, name), "a moved message is in source or target"
    assert all(count <= 2 for count in Counter(anna.subjects(INBOX, name)).values())
    assert ben.subjects(INBOX)[0] == "b1"
    for uid, (subject, _) in before.boxes[INBOX].items():
        assert uid not in boxes[INBOX] or boxes[INBOX][uid][0] == subject, "a UID names one message for ever"

    if "deliver" in acked:
        one, two = acked["deliver"]
        assert boxes[INBOX][one][0] == "d1" and ben.boxes[INBOX][two][0] == "d1"
    if "append" in acked:
        flags = frozenset({"\\Seen", "$Work"})
        assert [boxes[name][uid] for uid in acked["append"]] == [("a1", flags), ("a2", flags)]
        assert anna.dates["a1"] == 1_000_000_000
    if "store" in acked:
        assert all("\\Seen" in boxes[INBOX][uid][1] for uid in (1, 2))
    if "copy" in acked:
        assert [boxes[name][uid][0] for uid in acked["copy"]] == ["m1", "m2"]
    if "move" in acked:
        assert boxes[name][acked["move"][0]][0] == "m3" and "m3" not in anna.subjects(INBOX)
    if "expunge" in acked:
        assert "m4" not in anna.subjects(INBOX)
    elif "move" not in acked:
        assert "m4" in anna.subjects(INBOX)
    assert {"m5", "r1"} & set(anna.subjects(INBOX)), "a message and its replacement are never both missing"
    if "replace" in acked:
        assert boxes[INBOX][acked["replace"][0]][0] == "r1" and "m5" not in anna.subjects(INBOX)
    assert anna.notes[name] in ({}, {"/private/comment": NOTE}) and (anna.notes[name] or "annotate" not in acked)
    assert anna.acls[name] in ({}, {BEN: LR}) and (anna.acls[name] or "grant" not in acked)
    if "create" in acked:
        assert "New" in boxes and ("New/Sub" in boxes) >= ("delete" not in acked and "rename" not in acked)
    if "rename" in acked:
        assert name == "B"
    if "delete" in acked:
        assert "New/Sub" not in boxes
    assert not list(root.glob("*/*/tmp/*")) and not list(root.glob("*/*/.*/tmp/*")), "nothing is left in tmp/"
    return acked


@pytest.fixture(scope="module")
def places(forks: Forks, used_store: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """(call, n) for every n-th call of a name that an unharmed run makes."""
    root = tmp_path_factory.mktemp("points") / "store"
    shutil.copytree(used_store, root)
    output = root.with_suffix(".trace")
    names = ",".join(f"?{call}" for call in CALLS)
    assert forks.run(root, "-o", str(output), "-e", f"trace={names}") == 0
    assert "closed" in promises(root)
    most: Counter[str] = Counter()
    threads: Counter[tuple[str, str]] = Counter()
    for line in output.read_text(errors="replace").splitlines():
        if match := re.match(r"(\d+) +([a-z0-9_]+)\(", line):
            threads[match[1], match[2]] += 1
            most[match[2]] = max(most[match[2]], threads[match[1], match[2]])
    return [(call, when) for call, count in sorted(most.items()) for when in range(1, count + 1)]


@pytest.fixture(scope="module")
def before(used_store: Path, tmp_path_factory: pytest.TempPathFactory) -> State:
    root = tmp_path_factory.mktemp("before") / "store"
    shutil.copytree(used_store, root)

    async def read() -> State:
        async with open_store(root) as store:
            return await look(store, ANNA)

    return asyncio.run(read())


def hurt(forks: Forks, used_store: Path, root: Path, call: str, when: int, fault: str) -> int:
    shutil.copytree(used_store, root)
    return forks.run(root, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}")


def everywhere(
    used_store: Path, before: State, places: list[tuple[str, int]], tmp_path: Path, fault: str, expected: set[int]
) -> Counter[str]:
    """Hurt a store at every place, two at a time; how often each operation was promised."""

    def attempt(forks: Forks, call: str, when: int) -> dict[str, Any]:
        root = tmp_path / f"{call}{when}"
        status = hurt(forks, used_store, root, call, when, fault)
        try:
            assert status in expected, status
            acked = check(root, before)
        except AssertionError as error:
            raise AssertionError(f"{fault} at {call} {when}: {error}") from error
        shutil.rmtree(root)
        return acked

    def share(number: int) -> Counter[str]:
        kept: Counter[str] = Counter()
        forks = Forks()
        try:
            for call, when in places[number::2]:
                kept.update(attempt(forks, call, when).keys())
        finally:
            forks.close()
        return kept

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(share, range(2)), Counter[str]())


def sampled(places: list[tuple[str, int]], one_of: int) -> list[tuple[str, int]]:
    """The pages that SQLite writes are two fifths of all calls, and all alike to a kill: some of them are enough."""
    return [(call, when) for call, when in places if call != "pwrite64" or when % one_of == 1]


@needs_strace
@pytest.mark.timeout(400)
def test_h01_h09_killed_at_every_call(
    used_store: Path, before: State, places: list[tuple[str, int]], tmp_path: Path
) -> None:
    chosen = sampled(places, 6)
    kept = everywhere(used_store, before, chosen, tmp_path, "signal=SIGKILL", {-9})
    # The kills were spread over everything: each operation was promised in some runs and not in others.
    assert set(kept) >= {
        "deliver", "append", "store", "copy", "move", "expunge", "replace", "annotate", "grant", "create", "rename",
        "delete",
    }  # fmt: skip
    assert all(0 < count < len(chosen) for operation, count in kept.items()), kept


@pytest.mark.soak
@needs_strace
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", ["signal=SIGKILL", "error=ENOSPC", "error=EIO"])
def test_h01_hurt_at_every_call(
    used_store: Path, before: State, places: list[tuple[str, int]], tmp_path: Path, fault: str
) -> None:
    everywhere(used_store, before, places, tmp_path, fault, {-9} if "SIGKILL" in fault else {0, 1})


@needs_strace
@pytest.mark.parametrize("call", ["fsync", "rename", "linkat"])
def test_h01_disk_full_at_some_calls(
    used_store: Path, before: State, places: list[tuple[str, int]], tmp_path: Path, call: str
) -> None:
    chosen = [place for place in places if place[0] == call][::4]
    everywhere(used_store, before, chosen, tmp_path, "error=ENOSPC", {0, 1})
