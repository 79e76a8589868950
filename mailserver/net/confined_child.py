"""The other end of confined.py: `python -I -S confined_child.py ROOT MODULE FUNCTION SECONDS MEMORY`."""

from __future__ import annotations

import importlib
import resource
import sys

__all__ = ["main"]

#: It reads its modules; the processor's time is over for good one second after the signal.
_FILES = 16


def main(root: str, module: str, function: str, seconds: str, memory: str) -> None:
    """Standard input to standard output, within limits that cannot be lifted again."""
    cpu, space = int(seconds), int(memory)
    sys.path.append(root)
    work = getattr(importlib.import_module(module), function)
    for kind, most in (
        (resource.RLIMIT_AS, space), (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, _FILES), (resource.RLIMIT_NPROC, 0),
    ):  # fmt: skip
        resource.setrlimit(kind, (most, most))
    sys.stdout.buffer.write(work(sys.stdin.buffer.read()))


if __name__ == "__main__":
    main(*sys.argv[1:])
