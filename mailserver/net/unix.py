"""Paths of Unix sockets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["reachable_path"]

# sun_path of Linux's sockaddr_un has 108 octets, one of them for the NUL.
_MAX_PATH = 107


@contextlib.contextmanager
def reachable_path(path: Path) -> Iterator[str]:
    """`path` in a form that fits into a socket address: through a descriptor of its directory when it is too long."""
    name = str(path)
    if len(os.fsencode(name)) <= _MAX_PATH:
        yield name
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
