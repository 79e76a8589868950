"""What the tests with strace have in common: which calls matter, and whether it may trace here (ATTACKS §4.12)."""

from __future__ import annotations

import shutil
import subprocess

import pytest

__all__ = ["STATE_CHANGING", "needs_strace"]

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
