"""A real Dovecot on a Maildir of the test: IMAP on a loopback port, everything in a directory of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.daemon import PASSWORD, free_port
from tests.helpers.imap import Closed, Imap
from tests.helpers.waiting import PATIENCE

__all__ = ["Dovecot", "needs_dovecot"]

_PROGRAM = shutil.which("dovecot") or "/usr/sbin/dovecot"


def _users() -> bool:
    try:
        pwd.getpwnam("dovecot"), pwd.getpwnam("dovenull")
    except KeyError:
        return False
    return True


needs_dovecot = pytest.mark.skipif(
    not (Path(_PROGRAM).exists() and os.geteuid() == 0 and _users()),
    reason="Dovecot with its users is not installed, or this is not root, as which its master must run",
)


class Dovecot:
    """Serves `maildir` to the user `u`, separator `/`. A context manager; `directory` must be short and open to all.

    With `accounts` anyone may log in and has a Maildir with indexes beneath `maildir`, with these `folders`.
    """

    def __init__(
        self, directory: Path, maildir: Path, owner: int, *, accounts: bool = False, folders: Sequence[str] = ()
    ) -> None:
        self.port = free_port()
        self._directory = directory
        self._config = directory / "dovecot.conf"
        users = directory / "users"
        users.write_text(f"u:{{PLAIN}}{PASSWORD}\n")
        location = f"{maildir}/%n" if accounts else f"{maildir}:INDEX=MEMORY"
        passdb = f"static\n  args = password={PASSWORD}" if accounts else f"passwd-file\n  args = {users}"
        made = "".join(
            f"  mailbox {name} {{\n    special_use = \\{name}\n    auto = create\n  }}\n" for name in folders
        )
        self._config.write_text(
            f"""base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{location}
first_valid_uid = 1
maildir_copy_with_hardlinks = yes
default_internal_user = dovecot
default_login_user = dovenull
namespace inbox {{
  inbox = yes
  separator = /
{made}}}
passdb {{
  driver = {passdb}
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={directory}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service stats {{
  client_limit = 100
}}
"""
        )

    def __enter__(self) -> Dovecot:
        (self._directory / "run").mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [_PROGRAM, "-F", "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with self.imap():
                    return self
            except (OSError, Closed, AssertionError):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.__exit__()
                    raise AssertionError(f"Dovecot does not start:\n{self.log()}") from None
                time.sleep(0.1)

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def imap(self) -> Imap:
        """A client that is logged in."""
        client = Imap(self.port)
        client.login("u", PASSWORD)
        return client

    def log(self) -> str:
        """What it logged."""
        path = self._directory / "log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""
