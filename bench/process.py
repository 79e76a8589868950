"""The server under measurement: a process of its own, and clients that wait in IDLE."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

__all__ = ["HTTP", "IMAP", "IMAPS", "SMTP", "Server", "idle"]

ROOT = Path(__file__).resolve().parent.parent
PORT = 23025
#: As it is installed: pip compiles the modules, and only the first start from a fresh checkout has to do so itself.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
SMTP, IMAP, IMAPS, HTTP = PORT, PORT + 2, PORT + 3, PORT + 4


def wait_until_ready(port: int) -> None:
    """Until /health/ready on this port of HTTP answers 200."""
    for _ in range(3000):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError("the server did not get ready")


class Server:
    """The process that `bench/serve.py` becomes."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.serve", str(directory), str(PORT)],
            cwd=ROOT,
            env=_ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_ready(self) -> None:
        """Until /health/ready answers 200."""
        wait_until_ready(HTTP)

    def restart(self, directory: Path) -> float:
        """Seconds from start to ready, with the data that is there."""
        self.stop()
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "cli.py", "--config", str(directory / "config.toml"), "serve"],
            cwd=ROOT,
            env=_ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_ready()
        return time.perf_counter() - start

    def rss(self) -> int:
        """KiB of resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)


_CONTEXT = ssl.create_default_context()
_CONTEXT.check_hostname, _CONTEXT.verify_mode = False, ssl.CERT_NONE


async def idle(number: int, mode: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of user `number` % 50 that is logged in, has INBOX selected, and is in IDLE."""
    implicit = mode == "TLS"
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", IMAPS if implicit else IMAP, ssl=_CONTEXT if implicit else None
    )
    await reader.readline()
    if mode == "STARTTLS":
        writer.write(b"a STARTTLS\r\n")
        await reader.readline()
        await writer.start_tls(_CONTEXT)
    writer.write(b"b LOGIN user%d@example.test secret\r\nc SELECT INBOX\r\nd IDLE\r\n" % (number % 50))
    while not (line := await reader.readline()).startswith(b"+"):
        if not line:
            raise RuntimeError("the server closed the connection")
    return reader, writer
