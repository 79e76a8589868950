"""Fault injection by `strace -e inject`: kill or fail a program at its n-th system call of some kind (ATTACKS §4.12)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["STATE_CHANGING", "Run", "inject", "kill_everywhere", "needs_strace", "trace"]

#: What can change the state of a file system that a mail server keeps mail on.
STATE_CHANGING = (
    "openat", "creat", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat", "symlinkat",
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


def inject(
    argv: Sequence[str], when: int, *, fault: str = "signal=SIGKILL", calls: Sequence[str] = ("write", "fsync"),
    path: Path | None = None, timeout: float = 60.0,
) -> Run:  # fmt: skip
    """Run `argv` with `fault` at the `when`-th (from 1) of `calls`; with `path`, only calls on that path are counted.

    `fault` is strace's: `signal=SIGKILL`, `error=EIO`, `error=ENOSPC`. `path` must exist and names one file or directory.
    """
    names = ",".join(f"?{call}" for call in calls)
    command = [_STRACE or "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={names}"]
    if path is not None:
        command += ["-P", str(path)]
    command += ["-e", f"inject={names}:{fault}:when={when}", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    return Run(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def kill_everywhere(
    argv_for: object, *, calls: Sequence[str], limit: int = 2000, timeout: float = 60.0
) -> Iterator[tuple[int, Run]]:
    """Kill at the first call, the second, …, until a run comes through. `argv_for(n)` gives the command of run n."""
    assert callable(argv_for)
    for when in range(1, limit + 1):
        run = inject(argv_for(when), when, calls=calls, timeout=timeout)
        yield when, run
        if not run.killed:
            assert run.returncode == 0, f"run {when} failed by itself: {run.stderr[-2000:]}"
            return
    raise AssertionError(f"still killed after {limit} calls")


def trace(argv: Sequence[str], output: Path, *, calls: Sequence[str] = STATE_CHANGING, timeout: float = 60.0) -> Run:
    """Run `argv` and write its `calls` to `output`, one line each, with descriptors resolved to paths."""
    names = ",".join(f"?{call}" for call in calls)
    command = [_STRACE or "strace", "-f", "-qq", "-y", "-s", "64", "-o", str(output), "-e", f"trace={names}", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    return Run(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def python(script: Path | str, *arguments: str) -> list[str]:
    """A command line for a script of a test, with this interpreter."""
    return [sys.executable, "-X", "faulthandler", str(script), *arguments]
