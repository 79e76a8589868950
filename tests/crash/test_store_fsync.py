"""Nothing is acknowledged before its data and its name are synced: the order of system calls, as strace sees it.

Each operation of store_child.py ends with a line in its notes, so the calls before that line are what it did.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.crash.store_child import prepare
from tests.crash.test_store_kills import Forks
from tests.helpers.strace import needs_strace

_CALL = re.compile(r"\d+ +([a-z0-9_]+)\((.*)")
_FD = re.compile(r"^\d+<([^>]*)>")
_PATHS = re.compile(r'"([^"]*)"')
_ACK = re.compile(r'\[\\"([a-z]+)\\"')
CALLS = "fsync,fdatasync,rename,linkat,link,mkdir,unlink,rmdir,openat,writev,write,pwrite64,copy_file_range"


@dataclass
class Disk:
    """What has been written and named, and not been synced."""

    data: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def apply(self, call: str, arguments: str) -> None:
        paths = _PATHS.findall(arguments)
        descriptor = _FD.match(arguments)
        if call in ("fsync", "fdatasync") and descriptor:
            self.data.discard(descriptor[1])
            self.names = {name for name in self.names if os.path.dirname(name) != descriptor[1]}
        elif call in ("write", "writev", "pwrite64", "copy_file_range") and descriptor:
            self.data.add(descriptor[1])
        elif call == "rename":
            old, new = paths
            assert old not in self.data, f"{new} got its name before its data was synced"
            self.names.add(new)
            self.names.discard(old)
        elif call in ("link", "linkat"):
            assert paths[0] not in self.data, f"{paths[-1]} got its name before its data was synced"
            self.names.add(paths[-1])
        elif call == "mkdir":
            self.names.add(paths[0])


def operations(trace: str) -> Iterator[tuple[str, str]]:
    """(call, arguments) of everything that worked, in order; a call that strace saw in two halves counts at its end."""
    open_halves: dict[str, str] = {}
    for line in trace.splitlines():
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            open_halves[thread] = line.removesuffix("<unfinished ...>")
            continue
        if "resumed>" in line:
            line = open_halves.pop(thread) + line.partition("resumed>")[2]
        match = _CALL.match(line)
        if match and not re.search(r"\) += -1 ", line):
            yield match[1], match[2]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("fsync") / "store"
    root.mkdir()
    asyncio.run(prepare(root))
    output = root.with_suffix(".trace")
    forks = Forks()
    try:
        assert forks.run(root, "-o", str(output), "-e", f"trace={CALLS}") == 0
    finally:
        forks.close()
    return output.read_text(errors="replace")


#: Operation → what must be synced when it is acknowledged: name parts of directories and files.
MAIL = re.compile(
    r"/example\.test/.*/(?:cur|new)/|/example\.test/[^/]+/\.[^/]+$|dovecot-keywords$|mailserver-[a-z-]+$|shares\.db$"
)


@needs_strace
def test_nothing_is_promised_before_it_is_synced(trace: str) -> None:
    disk = Disk()
    seen = []
    for call, arguments in operations(trace):
        disk.apply(call, arguments)
        descriptor = _FD.match(arguments)
        if call == "write" and descriptor and descriptor[1].endswith(".acks"):
            found = _ACK.search(arguments)
            assert found, arguments
            seen.append(found[1])
            disk.data.discard(descriptor[1])
            waiting = {path for path in disk.names | disk.data if MAIL.search(path) and "/..gone." not in path}
            assert not waiting, f"{found[1]} was promised before this was synced: {waiting}"
            if found[1] in ("expunge", "move", "replace"):
                assert not any(path.endswith("index.db-wal") for path in disk.data), "a removal is journaled durably"
    assert seen == [
        "deliver", "append", "store", "copy", "move", "expunge", "replace", "annotate", "grant", "create", "rename",
        "delete", "closed",
    ]  # fmt: skip


@needs_strace
def test_the_check_sees_a_missing_sync(trace: str) -> None:
    """Without the syncs of directories the first promise is already too early."""
    lines = [line for line in trace.splitlines() if not re.search(r"fsync\(\d+<[^>]*/(?:new|cur)>", line)]
    with pytest.raises(AssertionError, match="deliver was promised"):
        test_nothing_is_promised_before_it_is_synced("\n".join(lines))
