"""The life of the real process, seen from outside."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailserver.app import life
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.smtp import Smtp

DaemonMaker = Callable[..., Daemon]


def test_a_second_server_on_the_same_data_is_refused(daemon: Daemon) -> None:
    done = subprocess.run(daemon.argv("serve"), capture_output=True, text=True, check=False, cwd=daemon.root)
    assert done.returncode == 1
    assert f"in use by process {daemon.pid}; stop it first" in done.stderr
    assert daemon.http("/health/ready") == b"ok\n"


def test_a_port_in_use_ends_the_start_with_words(make_daemon: DaemonMaker) -> None:
    daemon = make_daemon()
    with socket.create_server(("127.0.0.1", daemon.ports["imap"])):
        daemon.start(wait=False)
        assert daemon.process is not None
        assert daemon.process.wait(60) == 1
    text = daemon.log_text()
    assert (
        f'service failed service=imap error="cannot listen on 127.0.0.1:{daemon.ports["imap"]}: Address already' in text
    )
    assert "Traceback" not in text


def test_the_asyncio_loop_serves_too(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings={"": 'event_loop = "asyncio"'}) as daemon:
        assert daemon.command_json("queue", "list") == []
        with Smtp(daemon.ports["smtp"]) as smtp:
            smtp.ehlo()
            assert smtp.message("a@far.test", [f"anna@{DOMAIN}"], b"Subject: x\r\n\r\ny\r\n").code == 250


def test_commands_ask_the_running_server(daemon: Daemon) -> None:
    daemon.command("domain", "add", "second.test")
    daemon.add_account("zoe@second.test")
    daemon.command("alias", "add", "all@second.test", "zoe@second.test", f"anna@{DOMAIN}")
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        assert smtp.message("a@far.test", ["all@second.test"], b"Subject: x\r\n\r\ny\r\n").code == 250
    daemon.command("send", "--from", "zoe@second.test", stdin="To: far@away.test\nSubject: s\n\nbody\n")
    assert [row["recipients"] for row in daemon.command_json("queue", "list")] == [["far@away.test"]]
    assert daemon.metric("mailserver_queue_messages") == 1
    assert daemon.metric("mailserver_messages_delivered_total") == 2


async def test_what_the_queue_finds_after_the_start_is_kept_from_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look of the collector at a hundred thousand messages would hold the loop."""
    frozen: list[bool] = []
    recovered = asyncio.Event()
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(recovered.is_set()))
    monkeypatch.setattr(life, "_FREEZE", 0.001)
    app = SimpleNamespace(
        health=SimpleNamespace(serving=False), addresses=dict, queue=SimpleNamespace(recovered=recovered.wait)
    )
    one = life._Life(app, SimpleNamespace(send=print), SimpleNamespace())  # type: ignore[arg-type]
    one.ready()
    while len(frozen) < 4:  # noqa: ASYNC110
        await asyncio.sleep(0)
    recovered.set()
    assert one._recovering is not None
    await one._recovering
    assert frozen.count(True) == 1 and frozen[-1]
    one.close()


def test_everything_that_is_written_is_private(daemon: Daemon) -> None:
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        assert smtp.message("a@far.test", [f"anna@{DOMAIN}"], b"Subject: x\r\n\r\ny\r\n").code == 250
    for path in (daemon.data, *daemon.data.rglob("*")):
        # Programs of other users hand in mail through that socket, where its directory lets them.
        if not path.is_symlink() and path.name != "submit.sock":
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_the_socket_is_in_the_runtime_directory_when_there_is_one(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    daemon = make_daemon(environ={"RUNTIME_DIRECTORY": str(runtime)})
    with daemon:
        assert stat.S_ISSOCK((runtime / "control.sock").stat().st_mode)
        # The command does not know the variable.
        assert "RUNTIME_DIRECTORY" not in os.environ
        assert daemon.command_json("queue", "list") == []
    assert list(runtime.iterdir()) == []
    assert not (daemon.data / ".server" / "control.sock").is_symlink()


def test_inherited_sockets_replace_the_addresses(make_daemon: DaemonMaker) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as smtp,
        socket.create_server(("127.0.0.1", 0)) as http,make_daemon(inherit={"smtp": smtp, "http": http}) as daemon
    ):
        with Smtp(smtp.getsockname()[1]) as client:
            client.ehlo()
        with socket.create_connection(http.getsockname()) as client_socket:
            client_socket.sendall(b"GET /health/ready HTTP/1.0\r\n\r\n")
            assert b"200 OK" in client_socket.recv(1000)
        for name in ("smtp", "http"):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", daemon.ports[name])) != 0


def test_an_inherited_socket_of_an_unknown_name_is_an_error(make_daemon: DaemonMaker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        daemon = make_daemon(inherit={"smtps": sock})
        daemon.start(wait=False)
        assert daemon.process is not None
        assert daemon.process.wait(60) == 2
    assert "inherited socket named 'smtps'; FileDescriptorName= must be one of smtp, " in daemon.log_text()


def test_the_demo_tells_its_password_once_and_keeps_its_mail(make_daemon: DaemonMaker) -> None:
    daemon = make_daemon(arguments=["--demo"])
    daemon.start()
    daemon.restart()
    assert daemon.stop() == 0
    text = daemon.log_text()
    assert text.count("mailserver runs. Reach it with any mail program:") == 2
    first, second = (line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("  password"))
    assert len(first) == 12
    assert second.startswith("the one you were told first (a new one: ")
    inbox = daemon.data / "demo.test" / "demo"
    (message,) = [*(inbox / "new").iterdir(), *(inbox / "cur").iterdir()]
    assert b"Subject: Welcome to your mail server\r\n" in message.read_bytes()
