"""Fault injection by `strace -e inject`: kill or fail a program at its n-th system call of a name (ATTACKS §4.12)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["STATE_CHANGING", "Run", "inject", "needs_strace", "points", "python", "trace"]

#: What can change the state of a file system that a mail server keeps mail on. A kill comes on entry, so what a
#: creating `openat` leaves behind is met at the call after it; `openat` itself would count the interpreter's files.
STATE_CHANGING = (
    "creat", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat", "symlinkat",
    "unlink", "unlinkat", "write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "ftruncate", "truncate",
    "copy_file_range", "utimensat", "fallocate", "sync_file_range",
)  # fmt: skip

_STRACE = shutil.which("strace")


def _works() -> bool:
    if _STRACE is None:
        return False
    done = subprocess.run([_STRACE, "-f", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return done.returncode == 0


needs_strace = pytest.mark.skipif(not _works(), reason="strace is not installed, or may not trace here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run. `killed`: the injected signal ended it; else it ran to its end."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def killed(self) -> bool:
        return self.returncode in (-9, 137)


def inject(argv: Sequence[str], call: str, when: int, *, fault: str = "signal=SIGKILL", timeout: float = 60.0) -> Run:
    """Run `argv` with `fault` at the `when`-th (from 1) system call named `call`.

    strace counts per name and per thread, so this takes one name: with several, the n-th call of one would hide those
    of the others. A test whose program works in threads gives it one worker, or its counts are a matter of luck.
    No `--seccomp-bpf`, which would be faster: with it strace 6.1 forgets `when` above 1.
    `fault` is strace's: `signal=SIGKILL` (on entry: the call is not made), `error=EIO`, `error=ENOSPC`.
    """
    command = [_STRACE or "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    return _run([*command, "-e", f"inject={call}:{fault}:when={when}", *argv], timeout)


def trace(argv: Sequence[str], output: Path, *, calls: Sequence[str] = STATE_CHANGING, timeout: float = 60.0) -> Run:
    """Run `argv` and write its `calls` to `output`, one line each, with descriptors resolved to paths."""
    names = ",".join(f"?{call}" for call in calls)
    command = [_STRACE or "strace", "-f", "-qq", "-y", "-s", "64", "-o", str(output), "-e", f"trace={names}"]
    return _run([*command, *argv], timeout)


def points(argv: Sequence[str], output: Path, *, calls: Sequence[str] = STATE_CHANGING) -> list[tuple[str, int]]:
    """Run `argv` once unharmed and give every place where it can be hurt: (call, 1), (call, 2), …, for `inject`."""
    run = trace(argv, output, calls=calls)
    assert run.returncode == 0, run.stderr
    counts: Counter[tuple[str, str]] = Counter()
    for line in output.read_text(errors="replace").splitlines():
        # "1234  fsync(5</tmp/x>) = 0"; a resumed half of a call is the same call.
        if match := re.match(r"(\d+) +([a-z0-9_]+)\(", line):
            counts[match[1], match[2]] += 1
    most: Counter[str] = Counter()
    for (_, call), count in counts.items():
        most[call] = max(most[call], count)
    return [(call, when) for call, count in sorted(most.items()) for when in range(1, count + 1)]


def _run(command: Sequence[str], timeout: float) -> Run:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    return Run(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def python(script: Path | str, *arguments: str) -> list[str]:
    """A command line for a script of a test, with this interpreter."""
    return [sys.executable, str(script), *arguments]
