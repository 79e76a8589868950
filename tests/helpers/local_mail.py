"""`sendmail` as users of this machine call it: a copy of the program that everybody may run, and a socket for all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.maildir import uid_of

__all__ = ["NOBODY", "LocalMail", "local_mail", "other_users"]

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534
_TIMEOUT = 60


@lru_cache
def _interpreter() -> str:
    """A Python that another user can run, "" if there is none (the one of the tests may be in a home directory)."""
    if os.geteuid() != 0:
        return ""
    for program in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run(
                [program, "-c", "import tomllib, socket"], user=NOBODY, group=NOBODY, extra_groups=[], check=True,
                stderr=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        return program
    return ""


#: For tests that need a process of another user.
other_users = pytest.mark.skipif(
    not _interpreter(), reason="only root can run programs as another user, and they need a Python that all may run"
)


class LocalMail:
    """`program` is the path of a sendmail that everybody may run; `socket` is for `sendmail.socket`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "submit.sock"
        self.config = root / "config.toml"
        self.program = root / "bin" / "sendmail"
        self.config.write_text(f'[sendmail]\nsocket = "{self.socket}"\n')
        shutil.copytree(REPOSITORY / "mailserver", root / "code" / "mailserver", ignore=shutil.ignore_patterns("*.pyc"))
        (root / "bin").mkdir()
        start = f"import sys; sys.path.insert(0, '{root}/code'); from mailserver.commands import main; main()"
        link = root / "bin" / "run.py"
        link.write_text(f"import sys; sys.argv[0] = sys.argv.pop(1)\n{start}\n")
        for name in ("sendmail", "mailq"):
            script = root / "bin" / name
            given = f'-C {self.config} "$@"'
            script.write_text(f'#!/bin/sh\nexec {_interpreter() or sys.executable} -B {link} "$0" {given}\n')
            script.chmod(0o755)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)

    @property
    def settings(self) -> str:
        """For [sendmail] of the server."""
        return f'socket = "{self.socket}"'

    def run(
        self, *words: str, stdin: bytes = b"", uid: int = NOBODY, program: Path | str | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Call sendmail, or another program, as a user."""
        return self.call([str(program or self.program), *words], stdin=stdin, uid=uid)

    def call(self, argv: Sequence[str], *, stdin: bytes = b"", uid: int = NOBODY) -> subprocess.CompletedProcess[bytes]:
        """Run a command as a user, in an environment as bare as cron's."""
        mine = uid == os.geteuid()
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "LANG": "C.UTF-8"}
        return subprocess.run(
            argv, input=stdin, capture_output=True, timeout=_TIMEOUT, check=False, cwd="/", env=environ,
            user=None if mine else uid, group=None if mine else uid, extra_groups=None if mine else [],
        )  # fmt: skip

    @staticmethod
    def mail(daemon: Daemon, account: str = "anna") -> list[bytes]:
        """The messages in an INBOX, oldest first."""
        inbox = daemon.data / "example.test" / account
        files = [path for sub in ("new", "cur") for path in (inbox / sub).glob("*")]
        return [path.read_bytes() for path in sorted(files, key=uid_of)]


@contextmanager
def local_mail() -> Iterator[LocalMail]:
    """In a directory that everybody may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="mailserver-local-") as name:
        yield LocalMail(Path(name))
