"""ATTACKS B05 to B07 through the whole server: more clients than there are places, files or memory for."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.smtp import Closed, Smtp
from tests.helpers.waiting import until

ANNA = f"anna@{DOMAIN}"
MESSAGE = b"From: a@far.test\r\nSubject: hi\r\n\r\nhello\r\n"
STRANGERS = {"limits": "trusted = []", "plugins.greylist": "enabled = false"}


def first_words(sockets: list[socket.socket], seconds: float = 20.0) -> list[bytes]:
    """What the server says first on each; b"" where it closes at once, or says nothing within the time."""
    said: dict[socket.socket, bytes] = {}
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(0.2):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                with contextlib.suppress(ConnectionError):
                    said[ready] = ready.recv(4096)
                selector.unregister(ready)
    return [said.get(sock, b"") for sock in sockets]


def connect_many(port: int, number: int, source: str) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) for _ in range(number)]


def deliver(daemon: Daemon, source: str) -> int:
    with Smtp(daemon.ports["smtp"], source=source) as smtp:
        smtp.ehlo()
        return smtp.message("a@far.test", [ANNA], MESSAGE).code


def test_b05_a_thousand_connections_from_one_address(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings=STRANGERS) as daemon:
        before = daemon.fds()
        sockets = connect_many(daemon.ports["smtp"], 1000, "127.0.0.2")
        try:
            words = first_words(sockets)
            assert [word[:4] for word in words[:30]] == [b"220 "] * 30
            assert set(words[30:]) == {b"421 4.7.0 too many connections from your network\r\n"}
            # The same over IMAP: the caps are of all services together.
            (bye,) = first_words(imap := connect_many(daemon.ports["imap"], 1, "127.0.0.2"))
            assert bye.startswith(b"* BYE [UNAVAILABLE]")
            assert deliver(daemon, "127.0.0.200") == 250
            sockets += imap
        finally:
            for sock in sockets:
                sock.close()
        # Thirty of them were let in. It opens files of its own meanwhile.
        until(lambda: daemon.fds() <= before + 15, lambda: f"{before} descriptors before, {daemon.fds()} now")
        assert deliver(daemon, "127.0.0.2") == 250


def test_b06_sixty_four_files_and_two_hundred_clients(make_daemon: DaemonMaker) -> None:
    """From its start. Databases are opened for each work then, so that there are files for clients and their mail."""
    settings = {"limits": "trusted = []", "plugins.greylist": "enabled = false"}
    with make_daemon(settings=settings, files=64) as daemon, Smtp(daemon.ports["smtp"]) as early:
        assert daemon.fds() <= 36, "what it needs for itself"
        early.ehlo()
        assert early.message("a@far.test", [ANNA], MESSAGE).code == 250
        before, began, cpu = len(daemon.log_text().splitlines()), time.monotonic(), daemon.cpu()
        sockets = connect_many(daemon.ports["smtp"], 200, "127.0.0.2")
        try:
            words = first_words(sockets)
            served = [sock for sock, word in zip(sockets, words, strict=True) if word.startswith(b"220 ")]
            assert 10 <= len(served) <= 25
            assert all(word.startswith((b"220 ", b"421 4.7.0 too many connections")) for word in words)
            # Sessions go on, those of before and those of now, and mail is still kept.
            assert early.message("a@far.test", [ANNA], MESSAGE).code == 250
            for sock in served:
                sock.sendall(b"NOOP\r\n")
            assert set(first_words(served)) == {b"250 2.0.0 Ok\r\n"}
            # While they wait it does nothing.
            idle, since = daemon.cpu(), time.monotonic()
            first_words(served, 2.0)
            assert daemon.cpu() - idle <= 0.05 * (time.monotonic() - since) + 0.02
            lines = daemon.log_text().splitlines()[before:]
            told = [line for line in lines if "accepted" not in line and "delivered" not in line]
            assert len(told) <= 1 + time.monotonic() - began, told
            assert daemon.cpu() - cpu < 5
        finally:
            for sock in sockets:
                sock.close()
        _until_served(daemon)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_b06_few_files_and_many_clients(make_daemon: DaemonMaker, loop: str) -> None:
    with make_daemon(settings={"": f'event_loop = "{loop}"'}) as daemon, Smtp(daemon.ports["smtp"]) as early:
        early.ehlo()
        assert early.message("a@far.test", [ANNA], MESSAGE).code == 250
        own = daemon.fds() - 1
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (own + 30, own + 30))
        sockets = connect_many(daemon.ports["smtp"], 200, "127.0.0.2")
        try:
            words = first_words(sockets)
            served = [sock for sock, word in zip(sockets, words, strict=True) if word.startswith(b"220 ")]
            assert 10 <= len(served) <= 20
            assert words.count(b"421 4.7.0 too many connections\r\n") == 200 - len(served)
            # Sessions go on, those of before and those of now, and mail is still kept.
            assert early.message("a@far.test", [ANNA], MESSAGE).code == 250
            for sock in served:
                sock.sendall(b"NOOP\r\n")
            assert set(first_words(served)) == {b"250 2.0.0 Ok\r\n"}
        finally:
            for sock in sockets:
                sock.close()
        _until_served(daemon)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_b06_no_file_is_left(make_daemon: DaemonMaker, loop: str) -> None:
    settings = {"": f'event_loop = "{loop}"', "limits": "connections_total = 100000"}
    with make_daemon(settings=settings) as daemon, Smtp(daemon.ports["smtp"]) as early:
        early.ehlo()
        limit = daemon.fds() + 20
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (limit, limit))
        before = len(daemon.log_text().splitlines())
        began, cpu = time.monotonic(), daemon.cpu()
        sockets = connect_many(daemon.ports["smtp"], 200, "127.0.0.2")
        try:
            first_words(sockets, 3.0)
            seconds, used = time.monotonic() - began, daemon.cpu() - cpu
            assert early.command("NOOP").code == 250
            lines = daemon.log_text().splitlines()[before:]
            assert len(lines) <= 10 + seconds, lines
            # What the server closed of its own is free until it accepts again, within a second.
            until(lambda: early.message("a@far.test", [ANNA], MESSAGE).code == 451)
            assert used <= 1.0, "it does not run in circles"
        finally:
            for sock in sockets:
                sock.close()
        _until_served(daemon)


def _until_served(daemon: Daemon) -> None:
    def served() -> bool:
        with contextlib.suppress(Closed, ConnectionError, AssertionError):
            return deliver(daemon, "127.0.0.1") == 250
        return False

    until(served)


@contextlib.contextmanager
def _granted(octets: int) -> Iterator[Path]:
    """Processes that are started here get so much memory and no more: beyond it the kernel kills them."""
    group = Path("/sys/fs/cgroup/memory") / f"mailserver-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(octets))
    except OSError:
        pytest.skip("no control group for memory can be made here")
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    home = Path("/sys/fs/cgroup/memory") / own.rpartition(":")[2].lstrip("/")
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield group
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))


@pytest.mark.soak
def test_b07_five_hundred_clients_fill_every_buffer(make_daemon: DaemonMaker) -> None:
    """The memory of messages that arrive has a bound for all of them together (R11); beyond it they are in files."""
    daemon = make_daemon(settings=STRANGERS)
    with _granted(256 << 20) as group:
        daemon.start()
    clients: list[Smtp] = []
    try:
        for number in range(500):
            smtp = Smtp(daemon.ports["smtp"], source=f"127.{number // 30 + 1}.{number % 30 * 8}.1")
            clients.append(smtp)
            smtp.ehlo()
            smtp.expect("MAIL FROM:<a@far.test>", 250)
            smtp.expect(f"RCPT TO:<{ANNA}>", 250)
            smtp.expect("DATA", 354)
            smtp.send((b"x" * 998 + b"\r\n") * 1000 + b"y" * 60_000)
        assert deliver(daemon, "127.0.0.200") == 250
        assert daemon.rss() < 256 << 20
    finally:
        for smtp in clients:
            smtp.close()
    assert deliver(daemon, "127.0.0.200") == 250
    assert daemon.stop() == 0
    group.rmdir()
