"""Filters and scanners of others, run beside a server of ours."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["EICAR", "answers", "clamd", "service"]

_START = 60.0


@contextmanager
def service(argv: Sequence[str | Path], log: Path, ready: Callable[[], bool], home: Path) -> Iterator[None]:
    """Run a program in the foreground until the block ends; it is there when `ready` says so."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(each) for each in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=home,
            env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": str(home), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _START
        while not ready():
            said = log.read_text("utf-8", "replace")[-3000:]
            assert process.poll() is None and time.monotonic() < deadline, f"{argv[0]} did not start:\n{said}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def answers(where: Path | int) -> Callable[[], bool]:
    """Does somebody take connections there, a socket's path or a port of 127.0.0.1?"""

    def there() -> bool:
        family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
        with socket.socket(family) as probe, suppress(OSError):
            probe.connect(("127.0.0.1", where) if isinstance(where, int) else str(where))
            return True
        return False

    return there


#: The harmless text that all scanners know; in two pieces, so that this file is not one that they would take away.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@contextmanager
def clamd(home: Path, more: str = "") -> Iterator[Path]:
    """ClamAV's daemon, which knows EICAR and nothing else; the path of its socket."""
    signatures, path, config = home / "signatures", home / "clamd.sock", home / "clamd.conf"
    signatures.mkdir()
    (signatures / "own.ndb").write_text(f"Own.Eicar:0:*:{EICAR.hex()}\n")
    config.write_text(
        f"DatabaseDirectory {signatures}\nLocalSocket {path}\nForeground yes\nTemporaryDirectory {home}\n{more}\n"
    )
    with service(["clamd", "-c", config], home / "clamd.log", answers(path), home):
        yield path
