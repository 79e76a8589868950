from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mailserver.net.systemd import Notifier, inherited_sockets

NAMES = ("smtp", "imap")

CHILD = """
import os
from mailserver.net.systemd import inherited_sockets
os.environ["LISTEN_PID"] = str(os.getpid())
found = inherited_sockets(os.environ, ("smtp", "imap"))
print({name: [s.getsockname()[1] for s in socks] for name, socks in found.items()})
print(any(s.get_inheritable() for socks in found.values() for s in socks), "LISTEN_FDS" in os.environ)
"""


def test_sockets_come_by_their_names() -> None:
    given = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [sock.getsockname()[1] for sock in given]
    # The service manager passes them from descriptor 3 on; the shell does the same here.
    high = [os.dup2(sock.fileno(), 100 + at) for at, sock in enumerate(given)]
    moves = " ".join(f"{3 + at}<&{fd}" for at, fd in enumerate(high))
    env = {**os.environ, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "smtp:imap:smtp"}
    command = f'exec {moves}; exec "$0" -c "$1"'
    done = subprocess.run(
        ["/bin/bash", "-c", command, sys.executable, CHILD],
        env=env,
        pass_fds=high,
        capture_output=True,
        text=True,
        check=True,
    )
    for sock in given:
        sock.close()
    for fd in high:
        os.close(fd)
    assert done.stdout == f"{{'smtp': [{ports[0]}, {ports[2]}], 'imap': [{ports[1]}]}}\nFalse False\n"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "smpt"}, "named 'smpt'; FileDescriptorName= must be one of smtp, imap"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "smtp"}, "each inherited socket needs a name"),
        ({"LISTEN_FDS": "1"}, "named ''"),
        ({"LISTEN_FDS": "x", "LISTEN_FDNAMES": "smtp"}, "LISTEN_FDS is not a number: 'x'"),
    ],
)
def test_what_cannot_be_right_is_an_error(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inherited_sockets({"LISTEN_PID": str(os.getpid()), **variables}, NAMES)


def test_variables_for_another_process_are_removed_and_ignored() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp", "OTHER": "1"}
    assert inherited_sockets(environ, NAMES) == {}
    assert environ == {"OTHER": "1"}


@pytest.mark.parametrize("abstract", [False, True])
def test_notifications_are_datagrams(abstract: bool, tmp_path: Path) -> None:
    address = f"@mailserver-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if abstract else address)
        notifier = Notifier(address)
        notifier.send("READY=1", "STATUS=serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"
        notifier.close()
        notifier.send("WATCHDOG=1")


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    Notifier("").send("READY=1")
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.send("READY=1")
    notifier.close()
