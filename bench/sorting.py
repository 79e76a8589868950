"""SORT and THREAD beside another server: both get the same seeded mail, and answer the same commands in turn.

    python bench/sorting.py OUR_PORT PEER_PORT --load

Both have an account with the password `secret` (`bench/serve.py` makes ours); without `--load` its INBOX is as it was.
"""

from __future__ import annotations

import argparse
import random
import socket
import statistics
import time

COMMANDS = (
    "SORT (ARRIVAL) UTF-8 ALL",
    "SORT (REVERSE DATE) UTF-8 ALL",
    "SORT (SUBJECT) UTF-8 ALL",
    "SORT (FROM REVERSE DATE) UTF-8 ALL",
    "SORT (DISPLAYFROM SUBJECT DATE) UTF-8 ALL",
    "SORT (REVERSE DATE) UTF-8 UNSEEN",
    "UID SORT RETURN (PARTIAL 1:50) (REVERSE DATE) UTF-8 ALL",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "UID THREAD REFERENCES UTF-8 UNSEEN",
)
_WORDS = ("invoice", "meeting", "report", "travel", "budget", "lunch", "server", "backup", "holiday", "photo")
_PEOPLE = [f"{name}@{host}.example" for name in ("ann", "ben", "cleo", "dan", "eve", "finn", "gus") for host in "abcd"]


def messages(count: int, seed: int = 1) -> list[bytes]:
    """Conversations, newsletters and single messages; three in ten are replies with References."""
    rng = random.Random(seed)
    out: list[bytes] = []
    known: list[tuple[str, str, list[str]]] = []
    for number in range(count):
        own = f"{number}.{rng.getrandbits(60):x}@mail.example"
        references: list[str] = []
        subject = " ".join(rng.sample(_WORDS, 3)) + f" {rng.randrange(count)}"
        if known and rng.random() < 0.55:
            subject, parent, ancestors = rng.choice(known[-300:])
            subject = subject if subject.startswith("Re: ") else f"Re: {subject}"
            references = [*ancestors, parent][-12:]
        known.append((subject, own, references))
        when = 1_700_000_000 + number * 300 + rng.randrange(-20_000, 20_000)
        date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(when))
        author, reader = rng.choice(_PEOPLE), rng.choice(_PEOPLE)
        lines = [
            f"From: {author.partition('@')[0].title()} {rng.choice(_WORDS).title()} <{author}>", f"To: {reader}",
            f"Subject: {subject}", f"Date: {date}", f"Message-ID: <{own}>",
        ]  # fmt: skip
        if references:
            lines.append(f"In-Reply-To: <{references[-1]}>")
            lines.append("References: " + "\r\n ".join(f"<{one}>" for one in references))
        body = " ".join(rng.choices(_WORDS, k=rng.randrange(20, 200)))
        out.append("\r\n".join([*lines, "", body, ""]).encode())
    return out


class Client:
    """A connection that counts milliseconds."""

    def __init__(self, port: int, user: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._file = self._sock.makefile("rb")
        self._file.readline()
        self.command(f"LOGIN {user} secret".encode())

    def command(self, line: bytes) -> tuple[float, bytes]:
        """Its time and its answers; a command that fails ends the program."""
        start = time.perf_counter()
        self._sock.sendall(b"x " + line + b"\r\n")
        lines: list[bytes] = []
        while not lines or not lines[-1].startswith(b"x "):
            lines.append(self._file.readline())
        took = (time.perf_counter() - start) * 1000
        if not lines[-1].startswith(b"x OK"):
            raise SystemExit(f"{line[:60]!r}: {lines[-1]!r}")
        return took, b"".join(lines)

    def load(self, mail: list[bytes]) -> None:
        """APPEND all, a hundred at a time."""
        for start in range(0, len(mail), 100):
            batch = [
                b'%b"%b" {%d+}\r\n%b' % (
                    b"(\\Seen) " if number % 3 else b"",
                    time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(1_700_000_000 + number * 300)).encode(),
                    len(one), one,
                )
                for number, one in enumerate(mail[start : start + 100], start)
            ]  # fmt: skip
            self.command(b"APPEND INBOX " + b" ".join(batch))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--user", default="user38@example.test")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    clients = [Client(port, options.user) for port in options.ports]
    if options.load:
        mail = messages(options.count)
        for client in clients:
            client.load(mail)
    for client in clients:
        client.command(b"SELECT INBOX")
    for command in COMMANDS:
        times: list[list[float]] = [[] for _ in clients]
        for _ in range(options.rounds):
            for one, client in zip(times, clients, strict=True):
                one.append(client.command(command.encode())[0])
        cells = [f"first {one[0]:7.1f} median {statistics.median(one):7.1f}" for one in times]
        ratio = statistics.median(times[0]) / statistics.median(times[-1])
        print(f"{command:58} {'   '.join(cells)}   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
