"""ATTACKS N: operations. Who runs the server, what it tells, how it lives and dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver.app.checks import environment_problems, environment_warnings
from mailserver.app.load import load
from tests.helpers.certs import Certificates
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.smtp import Closed, Smtp
from tests.helpers.waiting import until

REPOSITORY = Path(__file__).parents[2]
DaemonMaker = Callable[..., Daemon]


def config(root: Path, text: str = "") -> str:
    (root / "config.toml").write_text(text)
    return str(root / "config.toml")


# N01


def test_n01_root_is_warned_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(config(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert environment_problems(loaded) == []
    (warning,) = environment_warnings(loaded)
    assert warning.startswith("running as root: ")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert environment_warnings(loaded) == []


@pytest.mark.parametrize(("mode", "good"), [(0o600, True), (0o640, True), (0o644, False), (0o602, False)])
@pytest.mark.parametrize("apart", [True, False])
def test_n01_a_private_key_that_others_can_reach(
    tmp_path: Path, certificates: Certificates, mode: int, good: bool, apart: bool
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(Path(certificates.cert_file).read_bytes())
    key.write_bytes(Path(certificates.key_file).read_bytes() + (b"" if apart else certificate.read_bytes()))
    key.chmod(mode)
    text = '[tls]\ncert_file = "cert.pem"\nkey_file = "key.pem"\n' if apart else '[tls]\ncert_file = "key.pem"\n'
    problems = environment_problems(load(config(tmp_path, text)))
    line, name = (3, "key_file") if apart else (2, "cert_file")
    expected = (
        f"{tmp_path}/config.toml:{line}: tls.{name}: {key}: a secret that every user of this machine can reach"
    )
    assert [str(problem).partition(";")[0] for problem in problems] == ([] if good else [expected])


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_n01_a_data_directory_that_others_can_write(tmp_path: Path, mode: int) -> None:
    (tmp_path / "maildir").mkdir()
    (tmp_path / "maildir").chmod(mode)
    (problem,) = environment_problems(load(config(tmp_path, '\ndata_dir = "maildir"\n')))
    assert str(problem) == (
        f"{tmp_path}/config.toml:2: data_dir: {tmp_path}/maildir: every user of this machine can write to it;"
        f" run: chmod o-w {tmp_path}/maildir"
    )


def test_n01_data_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "maildir").mkdir()
    loaded = load(config(tmp_path))
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    (problem,) = environment_problems(loaded)
    assert "belongs to user" in problem.text


def test_n01_such_a_start_ends_with_2_and_a_readable_configuration_is_fine(make_daemon: DaemonMaker) -> None:
    daemon = make_daemon()
    daemon.config.chmod(0o644)
    daemon.data.chmod(0o777)
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(60) == 2
    assert "every user of this machine can write to it" in daemon.log_text()
    daemon.data.chmod(0o700)
    with daemon:
        assert daemon.http("/health/live") == b"ok\n"


# N02


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_n02_the_sandbox_is_tight() -> None:
    unit = str(REPOSITORY / "systemd" / "mailserver.service")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert match is not None, shown
    assert float(match[1]) <= 1.5


def test_n02_each_listener_has_its_socket_unit() -> None:
    units = {
        path.stem.removeprefix("mailserver-"): path.read_text() for path in (REPOSITORY / "systemd").glob("*.socket")
    }
    assert set(units) == {"smtp", "submission", "submissions", "imap", "imaps", "http", "sendmail"}
    for name, text in units.items():
        assert f"\nFileDescriptorName={name}\n" in text
        assert "\nService=mailserver.service\n" in text
    assert "0.0.0.0" not in units["http"]
    service = (REPOSITORY / "systemd" / "mailserver.service").read_text()
    assert "\nType=notify\n" in service
    assert "\nRestartPreventExitStatus=2\n" in service
    assert "\nCapabilityBoundingSet=\n" in service


# N03 (the log of every daemon of every test is looked at when it ends: tests/helpers/daemon.py)


def test_n03_a_password_is_seen_nowhere(daemon: Daemon) -> None:
    with Smtp(daemon.ports["submission"]) as smtp:
        smtp.ehlo()
        assert smtp.auth_plain(f"anna@{DOMAIN}", "wrong-canary").code == 535
        assert smtp.auth_plain(f"anna@{DOMAIN}", PASSWORD).code == 235
    process = subprocess.Popen(
        daemon.argv("account", "password", f"anna@{DOMAIN}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=daemon.root,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(PASSWORD.encode()[:5])
    process.stdin.flush()
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
    out, err = process.communicate(PASSWORD.encode()[5:])
    assert process.returncode == 0
    everything = daemon.log_text().encode() + daemon.http("/metrics") + shown + out + err
    assert PASSWORD.encode() not in everything
    assert b"wrong-canary" not in everything
    for path in daemon.data.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


# N04


def test_n04_what_a_peer_says_stays_one_harmless_line(daemon: Daemon) -> None:
    nasty = "a\x1b[31mb\u202ec"
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.command(f"EHLO {nasty}")
        smtp.ehlo()
        smtp.command(f"MAIL FROM:<x@far.test> {nasty}")
        smtp.command(b"MAIL FROM:<x@far.test> SMTPUTF8\r\n")
        smtp.command(f"RCPT TO:<no\u202ebody@{DOMAIN}>")
    with Smtp(daemon.ports["submission"]) as smtp:
        smtp.ehlo()
        assert smtp.auth_plain(f"{nasty}\r\nfake line", "x").code >= 500
    wait_for(lambda: "login failed" in daemon.log_text())
    text = daemon.log_text()
    assert all(c.isprintable() or c == "\n" for c in text)
    assert not re.search(r"^fake line", text, re.MULTILINE)


# N05


def test_n05_a_bad_configuration_ends_the_start_with_2_and_all_lines(make_daemon: DaemonMaker) -> None:
    daemon = make_daemon()
    with daemon.config.open("a") as file:
        file.write('[log]\nlevel = "loud"\ncolour = true\n')
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(60) == 2
    last = daemon.config.read_text().count("\n")
    assert daemon.log_text() == (
        f"{daemon.config}:{last - 1}: log.level: must be 'debug', 'info', 'warning' or 'error'\n"
        f"{daemon.config}:{last}: log.colour: there is no such setting\n"
    )


def test_n05_a_bad_reload_keeps_the_old_configuration_whole(daemon: Daemon) -> None:
    good = daemon.config.read_text()
    bad = [
        (good + "[smtp2]\n", "smtp2: there is no such setting"),
        (
            good.replace('hostname = "mail', 'hostname = "other'),
            "hostname: cannot change while the server runs; restart it",
        ),
        (good + '[plugins.mine]\nfile = "gone.py"\n', "plugins.mine.file: there is no file"),
        (re.sub(r'cert_file = ".*"', 'cert_file = "gone.pem"', good), "No such file or directory"),
        (good + "[limits]\ntrusted = []\n", "limits.trusted: cannot change while the server runs; restart it"),
    ]
    for text, words in bad:
        # Each of them also adds a domain, which must not be served then.
        daemon.config.write_text(text + '[domains."new.test"]\n')
        assert words in reload(daemon)
        assert (
            [row["domain"] for row in daemon.command_json("domain", "list")] == [DOMAIN]
            if text is not bad[0][0]
            else True
        )
        assert daemon.http("/health/ready") == b"ok\n"
    daemon.config.write_text(good + '[domains."new.test"]\n')
    assert " reloaded " in reload(daemon)
    assert [row["domain"] for row in daemon.command_json("domain", "list")] == [DOMAIN, "new.test"]


def reload(daemon: Daemon) -> str:
    """SIGHUP, and what the log says of it."""
    before = len(daemon.log_text())
    os.kill(daemon.pid, signal.SIGHUP)
    return wait_for(
        lambda: (
            (m := re.search(r".* (reloaded|reload refused|reload failed) .*\n", daemon.log_text()[before:])) and m[0]
        )
    )


def wait_for(what: Callable[[], object]) -> str:
    """Until it is something; its text. For what another process does, which no fake clock can tell."""
    return str(until(what))


def test_n05_a_reload_swaps_certificates_plugins_and_limits_under_open_connections(daemon: Daemon) -> None:
    plugin = daemon.root / "stamp.py"
    plugin.write_text(
        "from contextlib import asynccontextmanager\n"
        "from mailserver.api import Plugin, Reject, Reply\n"
        "@asynccontextmanager\n"
        "async def setup(registry, settings, host):\n"
        "    @registry.on_mail\n"
        "    def refuse(ctx):\n"
        "        return Reject(Reply(550, '5.7.1', 'Not today'))\n"
        "    yield\n"
        "plugin = Plugin(name='stamp', setup=setup)\n"
    )
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        assert smtp.command("MAIL FROM:<a@far.test>").code == 250
        assert smtp.command("RSET").code == 250
        daemon.config.write_text(
            daemon.config.read_text() + '[plugins.stamp]\nfile = "stamp.py"\n[limits]\nrecipients = 123\n'
        )
        assert " reloaded " in reload(daemon)
        assert smtp.command("MAIL FROM:<a@far.test>").text == "5.7.1 Not today"
        assert "LIMITS RCPTMAX=123" in smtp.ehlo().lines


def test_n07_a_plugin_that_swallows_its_cancellation_does_not_keep_the_server(
    make_daemon: DaemonMaker, tmp_path: Path
) -> None:
    plugin = tmp_path / "clingy.py"
    plugin.write_text(
        "import asyncio\n"
        "from contextlib import asynccontextmanager\n"
        "from mailserver.api import Plugin\n"
        "async def cling(ctx):\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.sleep(1000)\n"
        "        except asyncio.CancelledError:\n"
        "            pass\n"
        "@asynccontextmanager\n"
        "async def setup(registry, settings, host):\n"
        "    registry.on_mail(cling)\n"
        "    yield\n"
        "plugin = Plugin(name='clingy', setup=setup)\n"
    )
    daemon = make_daemon(settings={"plugins.clingy": f'file = "{plugin}"\ntimeout = "100ms"'})
    daemon.start()
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        assert smtp.command("MAIL FROM:<a@far.test>").code == 451
    assert daemon.stop() == 0
    assert "left behind count=1" in daemon.log_text()


# N06 (lag and stuck disks by a fake clock: tests/unit/app/test_health.py)


def test_n06_the_watchdog_hears_nothing_while_the_loop_is_blocked(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    plugin, go_on = tmp_path / "stuck.py", tmp_path / "go-on"
    plugin.write_text(
        "import pathlib, time\n"
        "from contextlib import asynccontextmanager\n"
        "from mailserver.api import Plugin\n"
        "@asynccontextmanager\n"
        "async def setup(registry, settings, host):\n"
        "    @registry.on_helo\n"
        "    def block(ctx):\n"
        f"        while not pathlib.Path({str(go_on)!r}).exists():\n"
        "            time.sleep(0.01)\n"
        "    yield\n"
        "plugin = Plugin(name='stuck', setup=setup)\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        daemon = make_daemon(
            settings={"plugins.stuck": f'file = "{plugin}"'},
            environ={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"},
        )
        daemon.start(wait=False)
        heard = ""
        while "READY=1" not in heard or "WATCHDOG=1" not in heard:
            heard += manager.recv(4096).decode() + "\n"
        with Smtp(daemon.ports["smtp"]) as smtp:
            smtp.send(b"EHLO x.test\r\n")
            # It wants to tell five times a second; what it had said before it was blocked comes first.
            manager.settimeout(1.5)
            for _ in range(20):
                try:
                    manager.recv(4096)
                except TimeoutError:
                    break
            else:
                pytest.fail("a blocked server told the watchdog that all is well")
            go_on.touch()
            assert smtp.reply().code == 250
        manager.settimeout(30)
        assert manager.recv(4096) == b"WATCHDOG=1"
        assert "not well, the watchdog is not told otherwise" in daemon.log_text()
        assert daemon.stop() == 0


# N07


class Sender(threading.Thread):
    """Sends numbered messages over ever new connections until told to end, and notes what was acknowledged."""

    def __init__(self, port: int, first: int) -> None:
        super().__init__()
        self.port = port
        self.number = first
        self.acknowledged: list[int] = []
        self.refused_connects: list[str] = []
        self.unsure: list[int] = []
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            self.number += 1
            try:
                self.send(self.number)
            except ConnectionRefusedError as error:
                self.refused_connects.append(str(error))
            except (Closed, ConnectionError):
                # Without an answer a client does not know; a server that stops in order leaves nobody so.
                self.unsure.append(self.number)
            self.enough.wait(0.02)

    def await_more(self, count: int) -> None:
        """Until this many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= wanted)

    def send(self, number: int) -> None:
        with Smtp(self.port) as smtp:
            if smtp.command("EHLO load.test").code != 250:
                return
            message = f"Subject: {number}\r\nX-Number: {number}\r\n\r\nbody\r\n".encode()
            if smtp.message("load@far.test", [f"anna@{DOMAIN}"], message).code == 250:
                self.acknowledged.append(number)


def test_n07_stops_reloads_and_restarts_under_load_lose_and_double_nothing(make_daemon: DaemonMaker) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        daemon = make_daemon(inherit={"smtp": listening})
        with daemon:
            senders = [Sender(listening.getsockname()[1], 100_000 * at) for at in (1, 2)]
            for sender in senders:
                sender.start()
            try:
                for _ in range(4):
                    wait_for(lambda: any(s.acknowledged for s in senders))
                    for _ in range(250):
                        os.kill(daemon.pid, signal.SIGHUP)
                    for sender in senders:
                        sender.await_more(5)
                    daemon.restart()
            finally:
                for sender in senders:
                    sender.enough.set()
                for sender in senders:
                    sender.join()
    kept = Counter(
        int(found[1])
        for path in (daemon.data / DOMAIN / "anna").rglob("*,S=*")
        if (found := re.search(rb"^X-Number: ([0-9]+)", path.read_bytes(), re.MULTILINE))
    )
    acknowledged = [number for sender in senders for number in sender.acknowledged]
    assert len(acknowledged) >= 40
    assert [sender.refused_connects for sender in senders] == [[], []]
    assert [number for number in acknowledged if kept[number] != 1] == []
    assert max(kept.values()) == 1
