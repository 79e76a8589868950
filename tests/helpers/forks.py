"""Many runs of one program under strace, without paying for its start each time.

A script of the test imports everything once and then forks a child per run (`serve`); the test attaches strace to each
child before it begins (`Forks`). So a run costs some hundredths of a second, and nothing of the interpreter is counted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.helpers.strace import STATE_CHANGING

__all__ = ["Forks", "said", "serve"]

Place = tuple[str, int]


def serve(work: Callable[[Path, int], int | None]) -> None:
    """The script's side: for each line `work(directory, descriptor)` in a child, which says what it was promised. It
    may return an exit code."""
    for line in sys.stdin:
        root = Path(line.strip())
        waiting, going = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            try:
                said = os.open(f"{root}.said", os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
                os.dup2(said, 1)
                os.dup2(said, 2)
                os.read(waiting, 1)
                code = work(root, said) or 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _tell(child)
        sys.stdin.readline()
        os.write(going, b"g")
        _, status = os.waitpid(child, 0)
        os.close(waiting)
        os.close(going)
        _tell(os.waitstatus_to_exitcode(status))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


class Forks:
    """The test's side. A context manager. What a child said (its promises, its errors) is in `DIRECTORY.said`."""

    def __init__(self, script: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        self._server = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(20)
        self._server.stdout.close()

    def run(self, root: Path, *strace: str) -> int:
        """One child on `root` under strace with these options; its exit status, negative for a signal."""
        pid = self._ask(str(root))
        with subprocess.Popen(["strace", "-f", *strace, "-p", pid], stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            assert "attached" in line, line
            status = int(self._ask("go"))
            tracer.stderr.read()
        return status

    def inject(self, root: Path, place: Place, fault: str = "signal=SIGKILL") -> int:
        """One child with a fault at its `when`-th (from 1) system call of a name.

        strace counts per name and per thread, so a place is of one name: with several, the n-th call of one would hide
        those of the others. Faults: `signal=SIGKILL` (on entry: the call is not made), `error=EIO`, `error=ENOSPC`.
        No `--seccomp-bpf`: with it strace 6.1 forgets `when` above 1.
        """
        call, when = place
        return self.run(root, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}")

    def trace(self, root: Path, calls: Sequence[str] = STATE_CHANGING) -> list[str]:
        """One child unharmed; its `calls`, a line each, with descriptors resolved to paths."""
        output = Path(f"{root}.trace")
        names = ",".join(f"?{call}" for call in calls)
        status = self.run(root, "-y", "-s", "64", "-o", str(output), "-e", f"trace={names}")
        assert status == 0, said(root)
        return output.read_text(errors="replace").splitlines()

    def places(self, root: Path, calls: Sequence[str] = STATE_CHANGING) -> list[Place]:
        """One child unharmed; every place where the next ones can be hurt: (call, 1), (call, 2), …

        strace counts per thread: a program that works in threads gets one worker, or its counts are a matter of luck.
        """
        counts: Counter[tuple[str, str]] = Counter()
        for line in self.trace(root, calls):
            if match := re.match(r"(\d+) +([a-z0-9_]+)\(", line):
                counts[match[1], match[2]] += 1
        most: Counter[str] = Counter()
        for (_, call), count in counts.items():
            most[call] = max(most[call], count)
        return [(call, when) for call, count in sorted(most.items()) for when in range(1, count + 1)]

    def _ask(self, line: str) -> str:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline().strip()


def said(root: Path) -> str:
    """What the child said."""
    return Path(f"{root}.said").read_text(errors="replace")
