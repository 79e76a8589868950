"""Evolution's mail library as a process of its own (camel_program.py), and what is asked of it."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Evolution", "Failed", "Known", "needs_evolution"]

_PYTHON = Path("/usr/bin/python3")
_PROGRAM = Path(__file__).with_name("camel_program.py")
_PROVIDERS = "usr/lib/evolution-data-server/camel-providers"
#: What must be there, by the package that brings it.
_NEEDED = {
    "python3-gi": "usr/lib/python3/dist-packages/gi/__init__.py",
    "gir1.2-camel-1.2": "usr/lib/*/girepository-1.0/Camel-1.2.typelib",
    "evolution-data-server": f"{_PROVIDERS}/libcamelimapx.so",
}
#: It enters IDLE two seconds after the last command; a busy machine takes its time.
_PATIENCE = 60.0


def needs_evolution() -> pytest.MarkDecorator:
    """Skip a test, saying why, where the library or its bindings are not installed."""
    missing = [package for package, pattern in _NEEDED.items() if not any(Path("/").glob(pattern))]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class Failed(Exception):
    """It could not do what it was told to; says what it would show to a person."""


@dataclass(frozen=True, slots=True)
class Known:
    """A message as it knows it: `flags` in lower case without the backslash, "attachments" among them."""

    uid: str
    subject: str
    sender: str
    flags: frozenset[str]
    keywords: frozenset[str]


class Evolution:
    """One process with its files in `home`, where another finds them later. A context manager."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._log = home / "log"

    def __enter__(self) -> Evolution:
        environ = {
            "HOME": str(self._home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
            "GSETTINGS_BACKEND": "memory", "CAMEL_DEBUG": "imapx:io",
        }  # fmt: skip
        self._log.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [_PYTHON, "-I", _PROGRAM, self._home / "camel"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environ,
            )  # fmt: skip
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def dialogue(self) -> str:
        """What went over its connections so far; and what it complained about."""
        return self._log.read_text(errors="replace")

    def _call(self, method: str, *arguments: object) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.dialogue[-4000:]
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["value"]

    def trust(self, authority: Path) -> None:
        """This authority, and no other."""
        self._call("trust", str(authority))

    def connect(self, port: int, user: str, password: str, *, security: str = "NONE", **settings: object) -> None:
        """`security`: NONE, STARTTLS_ON_STANDARD_PORT or SSL_ON_ALTERNATE_PORT; `settings` of CamelIMAPXSettings."""
        host = "127.0.0.1" if security == "NONE" else "localhost"
        chosen = {"host": host, "port": port, "user": user, "filter-inbox": False, "check-all": True}
        chosen |= {name.replace("_", "-"): value for name, value in settings.items()}
        self._call("connect", password, security, chosen)

    def send(self, port: int, user: str, password: str, to: str, message: bytes, *, security: str = "NONE") -> None:
        """By SMTP."""
        chosen = {"host": "localhost", "port": port, "user": user, "auth-mechanism": "PLAIN"}
        self._call("send", password, security, chosen, user, to, base64.b64encode(message).decode())

    def disconnect(self) -> None:
        self._call("disconnect")

    def folders(self) -> list[str]:
        return list(self._call("folders"))

    def setup(self) -> dict[str, str]:
        """What a new account is set to: which folder is for what."""
        return dict(self._call("setup"))

    def create(self, name: str, parent: str = "") -> None:
        self._call("create", parent, name)

    def rename(self, old: str, new: str) -> None:
        self._call("rename", old, new)

    def delete(self, name: str) -> None:
        self._call("delete", name)

    def subscribe(self, name: str) -> None:
        self._call("subscribe", name)

    def refresh(self, folder: str) -> list[Known]:
        """Ask the server; the messages then."""
        self._call("refresh", folder)
        return self.messages(folder)

    def messages(self, folder: str) -> list[Known]:
        """As far as it knows, in the order of their UIDs."""
        known = [
            Known(one["uid"], one["subject"], one["from"], frozenset(one["flags"]), frozenset(one["keywords"]))
            for one in self._call("messages", folder)
        ]
        return sorted(known, key=lambda message: int(message.uid))

    def find(self, folder: str, subject: str) -> Known:
        """The one message with this subject."""
        (found,) = [message for message in self.messages(folder) if message.subject == subject]
        return found

    def until(self, folder: str, condition: Callable[[list[Known]], bool]) -> list[Known]:
        """Ask for nothing, but wait until what it hears makes this true."""
        deadline = time.monotonic() + _PATIENCE
        while not condition(known := self.messages(folder)):
            assert time.monotonic() < deadline, f"{known}\n{self.dialogue[-4000:]}"
            time.sleep(0.02)
        return known

    def idle(self) -> None:
        """Wait until it waits. What comes in one piece with the answer to IDLE it sometimes overlooks."""
        deadline = time.monotonic() + _PATIENCE
        while not self.dialogue.rstrip().endswith("+ idling'"):
            assert time.monotonic() < deadline, self.dialogue[-4000:]
            time.sleep(0.02)

    def parts(self, folder: str, uid: str) -> list[tuple[str, str | None, bytes]]:
        """Type, file name and content of each part, as it shows them."""
        return [
            (part["type"], part["name"], base64.b64decode(part["data"])) for part in self._call("parts", folder, uid)
        ]

    def count(self, folder: str, expression: str) -> int:
        """How many messages a search finds."""
        return int(self._call("count", folder, expression))

    def flag(self, folder: str, uid: str, *, keywords: dict[str, bool] | None = None, **flags: bool) -> None:
        self._call("flag", folder, uid, flags, keywords or {})

    def append(self, folder: str, message: bytes, *flags: str) -> str:
        """Its UID."""
        return str(self._call("append", folder, base64.b64encode(message).decode(), flags))

    def transfer(self, folder: str, uids: Sequence[str], target: str, *, move: bool) -> None:
        self._call("transfer", folder, uids, target, move)

    def expunge(self, folder: str) -> None:
        self._call("expunge", folder)
