"""Running other projects' programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.waiting import until

__all__ = ["ANNA", "FOLDERS", "Done", "append_all", "needs", "run", "sole_message"]

ANNA = f"anna@{DOMAIN}"
#: Names that programs have stumbled over, as IMAP sends them (RFC 9051 §5.1, modified UTF-7 for IMAP4rev1).
FOLDERS = ("Work", "Work/Sub one", "A &- B", "Gr&APwA3w-e", "&ZeVnLIqe-", "Br[a]ck (et)")


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended, and all that it said."""

    code: int
    output: str


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test, saying why, where one of these is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(
    argv: Sequence[str | Path], home: Path, *, stdin: bytes = b"", timeout: float = 100.0,
    environ: Mapping[str, str] | None = None,
) -> Done:  # fmt: skip
    """Run a program with `home` as its home and working directory."""
    variables = {"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "TERM": "xterm"}
    try:
        done = subprocess.run(
            argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False, cwd=home,
            env=variables | dict(environ or {}),
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        return Done(-1, (late.stdout or b"").decode("utf-8", "replace") + "\n(it did not end in time)")
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"))


def append_all(daemon: Daemon, account: str, mailbox: str, messages: Sequence[bytes]) -> None:
    """Make the mailbox if need be, and put these messages into it; every other one is \\Seen."""
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(account, PASSWORD)
        if imap.command(f'SELECT "{mailbox}"').status != "OK":
            imap.ok(f'CREATE "{mailbox}"')
            imap.ok(f'SUBSCRIBE "{mailbox}"')
        for number, message in enumerate(messages):
            imap.append(mailbox, message, "(\\Seen)" if number % 2 else "")


def sole_message(daemon: Daemon, account: str, message_id: str, mailbox: str = "INBOX") -> bytes:
    """The one message of this Message-ID; it is removed. Raises AssertionError if there is none, or more."""
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(account, PASSWORD)
        imap.ok(f'SELECT "{mailbox}"')

        def look() -> list[int]:
            imap.ok("NOOP")
            return imap.uids(f'HEADER Message-ID "{message_id}"')

        found = until(look, f"no {message_id}")
        assert len(found) == 1, f"{message_id}: {found}"
        body = imap.bodies(str(found[0]))[found[0]]
        imap.ok(f"UID STORE {found[0]} +FLAGS (\\Deleted)")
        imap.ok("EXPUNGE")
        return body
