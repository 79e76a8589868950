"""What others wait while one client has much sent to it: the time of a NOOP, of another user and of another session.

    python -m bench.fairness [--messages 10000] [--seconds 5] [--port PORT --large 200]

Starts a server of its own, or measures the one whose IMAP port is given. The goal is 50 ms at most
(docs/performance.md).
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.process import IMAP, Server

LINE = b"abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz\r\n"
SMALL = b"From: A <a@example.net>\r\nSubject: number %d\r\nMessage-ID: <%d@example.net>\r\n\r\n" + LINE * 70
LARGE = b"Subject: large %d %d\r\n\r\n" + LINE * 200_000
#: What the busy client does, and octets that it takes at once (few: it is slow).
WORK = {
    "nothing": (b"NOOP", 1 << 16),
    "envelopes and structures": (b"FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)", 1 << 20),
    "header fields": (b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM DATE)])", 1 << 20),
    "flags": (b"FETCH 1:* (FLAGS)", 1 << 20),
    "bodies": (b"FETCH 1:* (BODY.PEEK[])", 1 << 20),
    "bodies, slowly": (b"FETCH 1:* (BODY.PEEK[])", 4 << 10),
    "text parts": (b"FETCH 1:* (BODY.PEEK[1])", 1 << 20),
    "search in text": (b'SEARCH TEXT "nowhere to be found"', 1 << 16),
    "search in the header": (b'SEARCH HEADER SUBJECT "nowhere to be found"', 1 << 16),
    "sorting": (b"SORT (SUBJECT) UTF-8 ALL", 1 << 20),
    "threads": (b"THREAD REFERENCES UTF-8 ALL", 1 << 20),
}


class Client:
    """One connection, blocking."""

    def __init__(self, port: int, user: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.recv(4096)
        self.tags = 0
        self.command(b"LOGIN user%d@example.test secret" % user)

    def command(self, line: bytes, *, at_once: int = 1 << 16, until: float = float("inf")) -> bool:
        """Send a command and take its answers; False when `until` came first."""
        self.tags += 1
        tag = b"t%06d " % self.tags
        self.socket.sendall(tag + line + b"\r\n")
        tail = b""
        while tag not in tail or not tail.endswith(b"\r\n"):
            if time.perf_counter() > until:
                return False
            tail = (tail + self.socket.recv(at_once))[-4096:]
        return True


def fill(port: int, messages: int, large: int) -> None:
    client = Client(port, 0)
    for name, count, made in (("small", messages, SMALL), ("large", large, LARGE)):
        client.command(b"CREATE %b" % name.encode())
        at_once = 100 if made is SMALL else 5
        for start in range(0, count, at_once):
            parts = [b" {%d+}\r\n%b" % (len(text), text) for n in range(start, min(start + at_once, count))
                     if (text := made % (n, n))]  # fmt: skip
            client.command(b"APPEND %b%b" % (name.encode(), b"".join(parts)))


@contextmanager
def busy(port: int, folder: str, command: bytes, at_once: int, seconds: float) -> Iterator[None]:
    """A process of its own does that, so that nobody waits for anybody here."""
    process = multiprocessing.Process(target=keep_busy, args=(port, folder, command, at_once, seconds))
    process.start()
    try:
        yield
    finally:
        process.join()


def keep_busy(port: int, folder: str, command: bytes, at_once: int, seconds: float) -> None:
    client = Client(port, 0)
    client.command(b"SELECT %b" % folder.encode())
    until = time.perf_counter() + seconds
    while time.perf_counter() < until and client.command(command, at_once=at_once, until=until):
        time.sleep(0.01 if command == b"NOOP" else 0)


def waits(port: int, user: int, folder: str, seconds: float) -> list[float]:
    client = Client(port, user)
    client.command(b"SELECT %b" % folder.encode())
    out, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        client.command(b"NOOP")
        out.append(time.perf_counter() - start)
        time.sleep(0.005)
    client.socket.close()
    return sorted(out)


def measure(port: int, messages: int, large: int, seconds: float) -> None:
    fill(port, messages, large)
    for folder in ("small", "large"):
        for name, (command, at_once) in WORK.items():
            for user, other, where in ((1, "another user", "INBOX"), (0, "another session", folder)):
                with busy(port, folder, command, at_once, seconds + 1):
                    times = waits(port, user, where, seconds)
                print(
                    f"{folder}: {name}: NOOP of {other}: median {times[len(times) // 2] * 1e3:.1f} ms, "
                    f"p99 {times[len(times) * 99 // 100] * 1e3:.1f} ms, longest {times[-1] * 1e3:.1f} ms",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=20, help="messages of 11 MB")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.port:
        measure(options.port, options.messages, options.large, options.seconds)
        return
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory))
        try:
            server.wait_ready()
            measure(IMAP, options.messages, options.large, options.seconds)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
