"""Claws Mail on a display that nobody sees, with an account that is there already, driven by its own command line."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tests.interop.programs import Done, run

__all__ = ["ClawsMail"]

_PATIENCE = 60.0
#: __SO_ACCEPTCON, of the flags that the kernel shows.
_LISTENING = 0x10000
_KINDS = {"INBOX": "inbox", "Sent": "outbox", "Drafts": "draft", "Trash": "trash"}
_ACCOUNT = """[Account: 1]
account_name=test
is_default=1
name=Anna
address={user}
protocol=3
receive_server=127.0.0.1
smtp_server=127.0.0.1
user_id={user}
password={password}
set_imapport=1
imap_port={port}
ssl_imap=0
imap_auth_method=0
receive_at_get_all=1
filter_on_recv=1
"""
#: It asks nobody anything, and does nothing of its own accord.
_COMMON = """[Common]
check_on_startup=0
autochk_newmail=0
confirm_on_exit=0
clean_trash_on_exit=0
warn_queued_on_exit=0
no_recv_err_panel=1
show_recv_err_dialog=0
mark_as_read_on_new_window=0
mark_as_read_delay=0
"""


class ClawsMail:
    """One process with its files in `home`, and its display. A context manager.

    Args:
        folders: their names, beside those that every account has.
        rules: for new mail, by a word of the subject, such as {"star": "mark"}.
    """

    def __init__(
        self, home: Path, port: int, user: str, password: str, *, folders: Sequence[str], rules: Mapping[str, str]
    ) -> None:
        self._home = home
        settings = home / ".claws-mail"
        settings.mkdir()
        items = "".join(
            f'<folderitem type="{_KINDS.get(name, "normal")}" name={quoteattr(name)} path={quoteattr(name)}/>\n'
            for name in (*_KINDS, *folders)
        )
        (settings / "folderlist.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n<folderlist config_version="4">\n'
            f'<folder type="imap" name="test" account_id="1">\n{items}</folder>\n</folderlist>\n'
        )
        (settings / "accountrc").write_text(_ACCOUNT.format(user=user, password=password, port=port))
        (settings / "clawsrc").write_text(_COMMON)
        written = "".join(
            f'enabled rulename "{word}" subject match "{word}" {action}\n' for word, action in rules.items()
        )
        (settings / "matcherrc").write_text(f"[preglobal]\n\n[postglobal]\n\n[filtering]\n{written}")
        # The socket by which it is told what to do goes there; its name must not be long.
        self._cache = tempfile.TemporaryDirectory(prefix="claws")
        self._environ = {"XDG_CACHE_HOME": self._cache.name, "GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1"}

    def __enter__(self) -> ClawsMail:
        reading, writing = os.pipe()
        with open(reading) as told, (self._home / "log").open("wb") as log:
            self._display = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp", "-screen", "0", "1000x700x24"],
                pass_fds=[writing], stdout=log, stderr=log,
            )  # fmt: skip
            os.close(writing)
            self._environ["DISPLAY"] = f":{told.readline().strip()}"
            self._process = subprocess.Popen(
                ["claws-mail"], cwd=self._home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"HOME": str(self._home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"} | self._environ,
            )  # fmt: skip
        try:
            # Whoever asks before it listens takes its place.
            self._until(self._listens, "it does not start")
            self._until(lambda: "INBOX" in self.counts(), "it does not answer")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for process in (self._process, self._display):
            process.kill()
            process.wait()
        self._cache.cleanup()

    @property
    def log(self) -> str:
        """What it said to the server and was answered, contents left out, and what it complained about."""
        files = (self._home / ".claws-mail" / "claws.log", self._home / "log")
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())

    def _listens(self) -> bool:
        sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if self._cache.name in line]
        return any(int(fields[3], 16) & _LISTENING for fields in sockets)

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"{complaint}\n{self.log[-4000:]}")
            time.sleep(0.05)

    def _command(self, *arguments: str) -> Done:
        # Without a display it may ask the running one, but never become one itself.
        return run(["claws-mail", *arguments], self._home, environ=self._environ | {"LANG": "C.UTF-8"}, timeout=30)

    def ask(self, *arguments: str) -> str:
        """What the running program answers."""
        return self._command(*arguments).output

    def counts(self) -> dict[str, tuple[int, int]]:
        """Unread messages and all, by folder, as it knows them."""
        out = {}
        for line in self.ask("--status-full").splitlines():
            words = line.split(maxsplit=3)
            if len(words) == 4 and words[3].startswith("#imap/test/"):
                out[words[3].removeprefix("#imap/test/")] = int(words[1]), int(words[2])
        return out

    def until(self, expected: Mapping[str, tuple[int, int]]) -> None:
        """Let it look for new mail until its counts are these. (While it looks, it does not hear that it should.)"""

        def reached() -> bool:
            self.ask("--receive-all")
            return expected.items() <= self.counts().items()

        self._until(reached, f"not {expected}")

    def end(self) -> int:
        """Ask it to end; how it did."""
        self.ask("--exit")
        return self._process.wait(_PATIENCE)
