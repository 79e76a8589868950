"""Mail of strangers, judged by all plugins as they are shipped: what a message costs, and how many a second.

    python -m bench.judged [--messages 2000] [--connections 1,10] [--rounds 3]
                           [--to PORT --count DIRECTORY --cgroup DIRECTORY] [--directory DIRECTORY]

4 KB messages (text and HTML, five links) from 200 servers of 50 domains, each with one signature (RSA-2048), for which
SPF, DKIM and DMARC pass; the answers of DNS come from unbound on loopback, the clients' addresses by PROXY, 20 messages
a connection. The classifier has learned 400 messages of each kind. CPU is that of the server process, kernel time and
what it does within a second after the last message included; a message counts when it is in its mailbox.

With --to the same mail goes to another server that has the accounts of `bench/serve.py`, in turns with ours; it
takes PROXY and delivers to Maildirs somewhere below what --count says. --cgroup (cpuacct) has its processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from bench.process import wait_until_ready
from bench.serve import CONFIG, ROOT, make_accounts
from tests.helpers.signing import Signer, signer

PORT, DNS = 23125, 23135
DOMAINS, SERVERS, ACCOUNTS = 50, 4, 50
A_CONNECTION, LEARNED, WARM = 20, 400, 600
COVERED = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type")
MORE = f"""
[dns]
servers = ["127.0.0.1:{DNS}"]
"""
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Author:
    """Text of words as frequent as in a language (Zipf); the two kinds of mail like different ones of them."""

    def __init__(self, seed: int) -> None:
        own = random.Random(1)
        parts = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
        self._words = ["".join(own.choices(parts, k=own.choice((1, 2, 2, 3, 4)))) for _ in range(20_000)]
        self._weights = {kind: [1 / (1 + (rank * step) % 20_000) for rank in range(20_000)]
                         for kind, step in (("good", 1), ("junk", 7))}  # fmt: skip
        self._random = random.Random(seed)

    def text(self, kind: str, octets: int) -> str:
        """Lines of up to 72 columns."""
        words = self._random.choices(self._words, self._weights[kind], k=octets // 4)
        lines, line = [], ""
        for word in words:
            if len(line) + len(word) > 71:
                lines.append(line)
                line = ""
            line += word + " "
        return "\r\n".join([*lines, line])[:octets].rstrip()

    def message(self, kind: str, number: int, domain: str, to: str) -> bytes:
        """Of 4 KB when it is signed."""
        plain, rest = self.text(kind, 1250), self.text(kind, 1300).split("\r\n")
        links = [f'<a href="https://www.{domain}/{place}">{rest[place][:9]}</a>' for place in range(5)]
        html = "".join(f"<p>{line} {link}</p>\r\n" for line, link in zip_longest(rest, links, fillvalue=""))
        subject, half = self.text(kind, 50), f"half-{number}"
        return (
            f"Received: from inner.{domain} (inner.{domain} [10.0.0.9]) by mx.{domain} with ESMTPS id {number};\r\n"
            f"\tSat, 21 Nov 2026 01:00:00 +0000\r\nFrom: Anna <anna{number % 10}@{domain}>\r\nTo: {to}\r\n"
            f"Subject: {subject}\r\nDate: Sat, 21 Nov 2026 01:00:00 +0000\r\nMessage-ID: <{number}.{kind}@{domain}>\r\n"
            f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{half}"\r\n\r\n'
            f"--{half}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{plain}\r\n"
            f"--{half}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n{html}</body></html>\r\n"
            f"--{half}--\r\n"
        ).encode()


@dataclass(frozen=True)
class Mail:
    domain: str
    sender: str
    recipient: str
    data: bytes


def domain_of(number: int) -> str:
    return f"stranger{number}.test"


def address_of(domain: int, server: int) -> str:
    """Each in a network of its own, as limits count them."""
    return f"{20 + domain}.{server * 64}.8.25"


def make_mail(seed: int, count: int, by: Signer) -> list[list[Mail]]:
    """What goes over each connection."""
    author, made = Author(seed), []
    for start in range(0, count, A_CONNECTION):
        domain = domain_of(start // A_CONNECTION % DOMAINS)
        own = Signer(by.key, domain)
        together = []
        for number in range(start, min(count, start + A_CONNECTION)):
            to = f"user{number % ACCOUNTS}@example.test"
            data = own.sign(author.message("good", seed * 1_000_000 + number, domain, to), h=COVERED)
            together.append(Mail(domain, f"anna{number % 10}@{domain}", to, data + b".\r\n"))
        made.append(together)
    return made


@contextmanager
def resolver(home: Path, by: Signer) -> Iterator[None]:
    """unbound, which has all that is asked for itself."""
    lines = []
    for number in range(DOMAINS):
        domain = domain_of(number)
        record = Signer(by.key, domain).record
        lines += [f'{domain}. TXT "v=spf1 ip4:{20 + number}.0.0.0/9 ip4:{20 + number}.128.0.0/9 -all"',
                  f'_dmarc.{domain}. TXT "v=DMARC1; p=reject"', f"{domain}. MX 10 mx0.{domain}.",
                  f'{by.selector}._domainkey.{domain}. TXT "{record[:200]}" "{record[200:]}"']  # fmt: skip
        for server in range(SERVERS):
            address = address_of(number, server)
            lines += [f"mx{server}.{domain}. A {address}",
                      f'{".".join(reversed(address.split(".")))}.in-addr.arpa. PTR mx{server}.{domain}.']  # fmt: skip
    data = "".join("  local-data: '{} 3600 IN {}'\n".format(*line.split(" ", 1)) for line in lines)
    config = home / "unbound.conf"
    config.write_text(
        f'server:\n  interface: 127.0.0.1@{DNS}\n  port: {DNS}\n  do-daemonize: no\n  chroot: ""\n  username: ""\n'
        f'  directory: "{home}"\n  pidfile: ""\n  use-syslog: no\n  local-zone: "." static\n'
        f"  module-config: iterator\n{data}remote-control:\n  control-enable: no\n"
    )
    process = subprocess.Popen(["/usr/sbin/unbound", "-c", str(config)], stderr=(home / "unbound.log").open("wb"))
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


class Ours:
    """The server; `stop` ends it."""

    name = "ours"

    def __init__(self, home: Path) -> None:
        self.mail = home / "maildir"
        self.port = PORT
        self._config = home / "config.toml"
        text = CONFIG.format(*(PORT + number for number in range(5)))
        text = text.replace("[smtp]\n", '[smtp]\nproxy_from = ["127.0.0.1"]\n')
        self._config.write_text(text + MORE)
        asyncio.run(make_accounts(self.mail / ".server" / "accounts.db"))
        with (home / "log").open("wb") as log:
            self.process = subprocess.Popen(self._argv("serve"), cwd=ROOT, env=_ENVIRONMENT, stdout=log, stderr=log)
        wait_until_ready(PORT + 4)

    def _argv(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "cli.py"), "--config", str(self._config), *words]

    def learn(self, kind: str, place: Path) -> None:
        subprocess.run(self._argv("bayes", "train", f"--{kind}", str(place)), cwd=ROOT, check=True, timeout=120)

    def cpu(self) -> float:
        """Seconds so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)


class Theirs:
    name = "theirs"

    def __init__(self, port: int, mail: Path, cgroup: Path) -> None:
        self.port, self.mail, self._cgroup = port, mail, cgroup

    def cpu(self) -> float:
        return int((self._cgroup / "cpuacct.usage").read_text()) / 1e9


def stored(place: Path) -> int:
    """Messages in all Maildirs below it."""
    count = 0
    for where, folders, files in os.walk(place):
        if os.path.basename(where) in ("new", "cur"):
            count += len(files)
        folders[:] = [folder for folder in folders if folder != "tmp"]
    return count


async def converse(port: int, number: int, together: Sequence[Mail], waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def reply(expected: bytes) -> None:
        while (line := await reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(expected):
            raise RuntimeError(line.decode(errors="replace"))

    domain = int(together[0].domain.removeprefix("stranger").removesuffix(".test"))
    server = number // DOMAINS % SERVERS
    writer.write(b"PROXY TCP4 %s 127.0.0.1 40000 25\r\n" % address_of(domain, server).encode())
    await reply(b"220")
    writer.write(f"EHLO mx{server}.{together[0].domain}\r\n".encode())
    await reply(b"250")
    for mail in together:
        writer.write(f"MAIL FROM:<{mail.sender}>\r\nRCPT TO:<{mail.recipient}>\r\nDATA\r\n".encode())
        for expected in (b"250", b"250", b"354"):
            await reply(expected)
        start = time.perf_counter()
        writer.write(mail.data)
        await reply(b"250")
        waits.append(time.perf_counter() - start)
    writer.write(b"QUIT\r\n")
    await reply(b"221")
    writer.close()


async def send(port: int, mail: Sequence[Sequence[Mail]], connections: int) -> list[float]:
    """Seconds from the dot to the answer, of each."""
    waits: list[float] = []
    waiting = iter(enumerate(mail))

    async def one() -> None:
        for number, together in waiting:
            await converse(port, number, together, waits)

    await asyncio.gather(*(one() for _ in range(connections)))
    return waits


def measure(server: Ours | Theirs, mail: Sequence[Sequence[Mail]], connections: int) -> tuple[float, float, float]:
    """Messages a second, milliseconds of CPU each, and the median from the dot to the answer."""
    before, cpu, start = stored(server.mail), server.cpu(), time.perf_counter()
    waits = asyncio.run(send(server.port, mail, connections))
    while stored(server.mail) < before + len(waits):
        if time.perf_counter() - start > 120:
            raise RuntimeError(f"{server.name}: mail is missing")
        time.sleep(0.02)
    wall = time.perf_counter() - start
    time.sleep(1)
    return len(waits) / wall, (server.cpu() - cpu) / len(waits) * 1e3, statistics.median(waits) * 1e3


def compare(servers: Sequence[Ours | Theirs], by: Signer, options: argparse.Namespace) -> None:
    seed = 10
    for server in servers:
        measure(server, make_mail(1, WARM, by), 5)
    for connections in map(int, options.connections.split(",")):
        found: dict[str, list[tuple[float, float, float]]] = {server.name: [] for server in servers}
        for _ in range(options.rounds):
            seed += 1
            mail = make_mail(seed, options.messages, by)
            for server in servers:
                found[server.name].append(measure(server, mail, connections))
                print(f"    {server.name}: {found[server.name][-1]}, load {os.getloadavg()[0]:.1f}", flush=True)
        for name, rounds in found.items():
            rate, cpu, wait = (statistics.median(each) for each in zip(*rounds, strict=True))
            print(f"{name}, {connections} connections: {rate:.0f}/s, {cpu:.2f} ms CPU each, dot to 250 {wait:.1f} ms")
        if len(servers) > 1:
            pairs = list(zip(found["ours"], found["theirs"], strict=True))
            for at, what in enumerate(("rate", "CPU")):
                ratios = [a[at] / b[at] for a, b in pairs]
                print(f"ratio of {what}: {statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]")


def write_lessons(home: Path) -> dict[str, Path]:
    """Folders of messages to learn from."""
    author, places = Author(2), {}
    for kind in ("good", "junk"):
        places[kind] = home / kind
        places[kind].mkdir()
        for number in range(LEARNED):
            message = author.message(kind, number, f"{kind}{number % 40}.test", "all@example.test")
            (places[kind] / f"{number}.eml").write_bytes(message)
    return places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--connections", default="1,10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--to", type=int, default=0, help="port of the other server")
    parser.add_argument("--count", type=Path, help="where it delivers to")
    parser.add_argument("--cgroup", type=Path, help="of cpuacct, which counts its processor time")
    parser.add_argument("--directory", type=Path, help="made anew, and kept")
    options = parser.parse_args()
    home = options.directory or Path(tempfile.mkdtemp())
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    by = signer()
    with resolver(home, by):
        server = Ours(home)
        try:
            lessons = write_lessons(home)
            for kind, place in lessons.items():
                server.learn(kind, place)
            servers: list[Ours | Theirs] = [server]
            if options.to:
                servers.append(Theirs(options.to, options.count, options.cgroup))
            compare(servers, by, options)
        finally:
            server.stop()
            if not options.directory:
                shutil.rmtree(home)


if __name__ == "__main__":
    main()
