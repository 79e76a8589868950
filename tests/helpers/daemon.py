"""The real server, as a process of its own, with a data directory of its own."""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from mailserver.net.control_client import call
from tests.helpers.mail import CANARY_BODY
from tests.helpers.waiting import PATIENCE, until

__all__ = ["DOMAIN", "PASSWORD", "Daemon", "free_port"]

REPOSITORY = Path(__file__).parents[2]
DOMAIN = "example.test"
#: Every account of a test has it. It must never be seen in a log, a process list or an error (ATTACKS N03).
PASSWORD = "pass-canary-9c2e7a"
_SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "http")
# Seconds. A busy machine may take long over the import of a server alone.
_START, _STOP = 120.0, 60.0
_random = random.Random()
#: The interpreter's own words, or a line of a stack as our log has it.
_STACK = re.compile(r'Traceback \(most recent call last\)| File \\?"[^"\n]+", line \d+, in ')


_reserved: list[socket.socket] = []


def free_port() -> int:
    """A TCP port that nobody has; outside the range from which the kernel takes ports for outgoing connections.

    Reserved among all test processes of this machine while this one lives: a name in the abstract name space says so.
    """
    while True:
        port = _random.randrange(20000, 32000)
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with socket.socket() as probe, contextlib.suppress(OSError):
            mark.bind(f"\0mailserver-test-port-{port}")
            probe.bind(("127.0.0.1", port))
            _reserved.append(mark)
            return port
        mark.close()


class Daemon:
    """`python cli.py serve`. Ports stay the same over restarts. A context manager: leaving it stops the process.

    `settings` are lines of TOML by section, added to the configuration: `{"limits": "trusted = []"}`; the section ""
    comes first. Without settings for "queue" mail for others goes nowhere, and waits. `inherit`: listening sockets by
    listener name, handed over at each start. `files`: how many the process may have open. On leaving, the log must hold
    no secret and no traceback, unless `allow_tracebacks`.
    """

    def __init__(
        self,
        root: Path,
        *,
        settings: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        allow_tracebacks: bool = False,
        arguments: Sequence[str] = (),
        inherit: Mapping[str, socket.socket] | None = None,
        files: int = 0,
    ) -> None:
        self.root = root
        self.data = root / "maildir"
        self.config = root / "config.toml"
        self.log = root / "log"
        self.allow_tracebacks = allow_tracebacks
        self.ports = {name: free_port() for name in _SERVICES}
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = dict(settings or {})
        self._environ = dict(environ or {})
        self._arguments = list(arguments)
        self._inherit = dict(inherit or {})
        self._files = files
        root.mkdir(parents=True, exist_ok=True)
        self.write_config()

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.running:
            self.stop()
        if kind is None:
            self.check_log()

    def write_config(self, settings: Mapping[str, str] | None = None) -> None:
        """Write config.toml anew, with other `settings` if given."""
        if settings is not None:
            self._settings = dict(settings)
        port = self.ports
        sections: dict[str, list[str]] = {
            "": ['hostname = "mail.example.test"', f'data_dir = "{self.data}"'],
            f'domains."{DOMAIN}"': [],
            "smtp": [f'listen = ["127.0.0.1:{port["smtp"]}"]'],
            "submission": [
                f'listen = ["127.0.0.1:{port["submission"]}"]',
                f'listen_tls = ["127.0.0.1:{port["submissions"]}"]',
            ],
            "imap": [f'listen = ["127.0.0.1:{port["imap"]}"]', f'listen_tls = ["127.0.0.1:{port["imaps"]}"]'],
            "http": [f'listen = ["127.0.0.1:{port["http"]}"]'],
        }
        if "queue" not in self._settings:
            # Nobody listens there: mail for others waits.
            sections["queue"] = ['relay = "127.0.0.1:9"']
        for name, lines in self._settings.items():
            given = lines.strip().splitlines()
            keys = {line.partition("=")[0].strip() for line in given}
            kept = [line for line in sections.get(name, []) if line.partition("=")[0].strip() not in keys]
            sections[name] = kept + given
        text = "\n".join("\n".join(([f"[{name}]"] if name else []) + lines) for name, lines in sections.items())
        self.config.write_text(text + "\n")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it says that it is ready. Raises AssertionError with the log if it does not."""
        assert not self.running
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.log.open("ab") as log:
            name = f"mailserver-test-{secrets.token_hex(8)}"
            notify.bind(f"\0{name}")
            environ = {k: v for k, v in os.environ.items() if not k.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))}
            environ |= {"NOTIFY_SOCKET": f"@{name}", "PYTHONUNBUFFERED": "1"} | self._environ
            self.process = subprocess.Popen(
                [*self._limited(), *self._activation(), *self.argv("serve", *self._arguments)],
                cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ,
                pass_fds=[sock.fileno() for sock in self._inherit.values()],
            )  # fmt: skip
            if wait:
                self._wait_ready(notify)

    def _limited(self) -> list[str]:
        return ["/bin/sh", "-c", f'ulimit -n {self._files}; exec "$0" "$@"'] if self._files else []

    def _activation(self) -> list[str]:
        """A shell that hands listening sockets over as the service manager does (sd_listen_fds(3)), then becomes us."""
        if not self._inherit:
            return []
        names = ":".join(self._inherit)
        moves = " ".join(f"{3 + at}<&{sock.fileno()}" for at, sock in enumerate(self._inherit.values()))
        script = f'LISTEN_PID=$$ LISTEN_FDS={len(self._inherit)} LISTEN_FDNAMES={names} exec "$0" "$@" {moves}'
        return ["/bin/bash", "-c", script]

    def _wait_ready(self, notify: socket.socket) -> None:
        deadline = time.monotonic() + _START
        notify.settimeout(0.1)
        while time.monotonic() < deadline and self.running:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in notify.recv(4096).split(b"\n"):
                    return
        self.kill9()
        raise AssertionError(f"the server did not become ready:\n{self.log_text()[-4000:]}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"the server did not stop:\n{self.log_text()[-4000:]}") from None

    def kill9(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Stop if need be, and start again on the same data and ports."""
        if self.running:
            assert self.stop() == 0
        self.start()

    def argv(self, *arguments: str) -> list[str]:
        """A command line of this server."""
        return [sys.executable, str(REPOSITORY / "cli.py"), "--config", str(self.config), *arguments]

    def command(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run a command of the command line; its standard output."""
        done = subprocess.run(
            self.argv(*arguments), input=stdin, capture_output=True, text=True, timeout=120, check=False, cwd=self.root
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def command_json(self, *arguments: str) -> Any:
        """The result of a command with --json."""
        return orjson.loads(self.command(*arguments, "--json"))

    def add_account(self, address: str, password: str = PASSWORD) -> None:
        """Works with the server running or not."""
        self.command("account", "add", address, stdin=password + "\n")

    def http(self, path: str, timeout: float = 10.0) -> bytes:
        """GET from the HTTP listener."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}{path}", timeout=timeout) as answer:
            body: bytes = answer.read()
            return body

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 when it is not there."""
        text = self.http("/metrics").decode()
        return sum(float(m[1]) for m in re.finditer(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))

    def logged(self, *words: str) -> None:
        """Wait until the log has these; a line may come after the answer that it is about."""
        until(lambda: all(some in self.log_text() for some in words), lambda: f"{words}:\n{self.log_text()[-4000:]}")

    def queued(self) -> list[Any]:
        """What waits in the queue now; asked by no client that limits count, and without another process."""
        rows: list[Any] = call(self.data / ".server" / "control.sock", "queue.list", {}, timeout=PATIENCE)
        return rows

    def queue(self, count: int = 0) -> list[Any]:
        """What waits in the queue, once that is so many messages; one that was delivered leaves it a moment later."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = self.queued()
            return len(found) == count

        until(look, lambda: f"not {count} in the queue: {found}\n{self.log_text()[-4000:]}")
        return found

    def rss(self) -> int:
        """Resident memory in octets."""
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert match is not None
        return int(match[1]) * 1024

    def fds(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_text(self) -> str:
        """What it wrote to standard output and standard error, over all starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def check_log(self) -> None:
        """No secret, no message content, no traceback, no control character in the log (ATTACKS N03, N04)."""
        text = self.log_text()
        for secret in (PASSWORD, CANARY_BODY):
            assert secret not in text, f"{secret!r} is in the log"
        for line in text.splitlines():
            assert "\x1b" not in line
        stack = _STACK.search(text)
        assert self.allow_tracebacks or stack is None, text[max(0, stack.start() - 500) : stack.start() + 6000]
