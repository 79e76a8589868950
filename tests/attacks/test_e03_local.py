"""ATTACKS A13, E03 and E04 at the door for programs on this machine: the real server, and processes of other users."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.local_mail import NOBODY, LocalMail, local_mail, other_users

pytestmark = [other_users]

ANNA = f"anna@{DOMAIN}"
CRON = b"From: root (Cron Daemon)\nTo: nobody\nSubject: Cron <nobody@vm> date\n\noutput\n"


@pytest.fixture(scope="module")
def programs() -> Iterator[LocalMail]:
    with local_mail() as made:
        yield made


@pytest.fixture(scope="module")
def started(programs: LocalMail, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), settings={"sendmail": programs.settings})
    for name in ("anna", "ben"):
        daemon.add_account(f"{name}@{DOMAIN}")
    with daemon:
        yield daemon


@pytest.fixture
def server(started: Daemon) -> Daemon:
    """With empty mailboxes."""
    for path in (started.data / DOMAIN).glob("*/new/*"):
        path.unlink()
    return started


def test_e03_the_kernel_says_who_it_is(server: Daemon, programs: LocalMail) -> None:
    """As cron calls it, for a job of a user."""
    done = programs.run("-i", "-FCronDaemon", "-B8BITMIME", "-oem", "nobody", stdin=CRON)
    assert (done.returncode, done.stderr) == (0, b"")
    [message] = programs.mail(server)
    assert f"From: Cron Daemon <nobody@{DOMAIN}>\r\n".encode() in message
    assert f"(user nobody, uid:{NOBODY})".encode() in message
    assert message.endswith(b"\r\n\r\noutput\r\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-f", ANNA, ANNA], b"\nx\n"),
        (["-f", "x@far.test", ANNA], b"\nx\n"),
        (["-F", f"Anna <{ANNA}>", "-f", ANNA, ANNA], b"\nx\n"),
        ([ANNA], f"From: {ANNA}\n\nx\n".encode()),
        ([ANNA], f"From: nobody\nSender: {ANNA}\n\nx\n".encode()),
        ([ANNA], f"From: nobody\nFrom: {ANNA}\n\nx\n".encode()),
        ([ANNA], f"From: nobody, {ANNA}\n\nx\n".encode()),
        ([ANNA], f"From : {ANNA}\n\nx\n".encode()),
        ([ANNA], f"X: y\r\r\nFrom: {ANNA}\n\nx\n".encode()),
    ],
)
def test_e03_nobody_is_nobody_else(server: Daemon, programs: LocalMail, words: list[str], message: bytes) -> None:
    done = programs.run(*words, stdin=message)
    assert done.returncode == 77, done
    assert done.stderr.startswith(b"sendmail: not sent: 5.7.1 ")
    assert programs.mail(server) == []


def test_e03_a_dialogue_is_bound_in_the_same_way(server: Daemon, programs: LocalMail) -> None:
    words = f"EHLO x\nMAIL FROM:<{ANNA}>\nAUTH PLAIN AGFubmEAeA==\nQUIT\n".encode()
    done = programs.run("-bs", stdin=words)
    assert done.returncode == 0
    answers = [line[:3] for line in done.stdout.splitlines() if line[3:4] == b" "]
    assert answers == [b"220", b"250", b"553", b"502", b"221"]


def test_e03_the_queue_and_the_admin_socket_are_not_for_everybody(server: Daemon, programs: LocalMail) -> None:
    done = programs.run("-bp")
    assert (done.returncode, done.stdout) == (77, b"")
    assert b"only root and the server's own user" in done.stderr
    assert programs.run(program=programs.root / "bin" / "mailq").returncode == 77
    assert os.stat(server.data / ".server" / "control.sock").st_mode & 0o777 == 0o600


STRANGE = ["../../x", "a/b", "$(id)", "|sh", "${run{x}}", "`id`", ";id", "-oQ/tmp", "%s%n", "a b", 'a"b', "a\\b"]


@pytest.mark.parametrize("local", STRANGE)
def test_e04_local_parts_are_data(server: Daemon, programs: LocalMail, local: str) -> None:
    before = {path for path in server.data.rglob("*") if path.is_dir()}
    quoted = local.replace("\\", "\\\\").replace('"', '\\"')
    done = programs.run("--", f'"{quoted}"@{DOMAIN}', stdin=b"\nx\n")
    assert done.returncode == 67, done
    done = programs.run("-t", stdin=f'To: "{quoted}"@{DOMAIN}\n\nx\n'.encode())
    assert done.returncode == 67, done
    assert {path for path in server.data.rglob("*") if path.is_dir()} == before


@pytest.mark.parametrize("option", ["-X/tmp/log", "-oQ/tmp", "-C", "-D/tmp/log", "-OQueueDirectory=/tmp"])
def test_e04_options_write_no_files(server: Daemon, programs: LocalMail, option: str) -> None:
    """What was injected through PHP's mail() once: a log of the dialogue at a place of one's choice."""
    target = programs.root / "written"
    word = option.replace("/tmp/log", str(target)).replace("/tmp", str(programs.root))
    words = [word] if option != "-C" else ["-C", str(target)]
    done = programs.run(*words, ANNA, stdin=b"\nx\n")
    assert done.returncode == (78 if option == "-C" else 0), done
    assert not target.exists()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("place", ["-f", "-F", "-V", "recipient", "-N"])
@pytest.mark.parametrize("text", [f"a{{end}}Bcc: ben@{DOMAIN}{{end}}RCPT TO:<ben@{DOMAIN}>", f"a{{end}}<ben@{DOMAIN}>"])
def test_a13_no_value_begins_a_line(server: Daemon, programs: LocalMail, end: str, place: str, text: str) -> None:
    value = text.format(end=end)
    done = programs.run(*([value] if place == "recipient" else [place, value]), ANNA, stdin=b"Subject: s\n\nx\n")
    assert programs.mail(server, "ben") == []
    for message in programs.mail(server):
        head = message.partition(b"\r\n\r\n")[0]
        assert not any(line.startswith((b"Bcc", b"RCPT")) for line in head.splitlines())
    assert done.returncode == 0 if place == "-F" else done.returncode in (64, 65)


def test_a13_a_user_name_cannot_break_received(server: Daemon, programs: LocalMail) -> None:
    done = programs.run("-bs", stdin=b"EHLO x)\nEHLO [1\nEHLO good\nQUIT\n")
    assert [line[:3] for line in done.stdout.splitlines()][:3] == [b"220", b"501", b"501"]


def test_a13_the_lines_of_a_message_end_with_crlf_and_a_dot_alone_ends_it(server: Daemon, programs: LocalMail) -> None:
    assert programs.run(ANNA, stdin=b"Subject: 1\n\na\r\n..\n.b\n.\nRCPT TO:<x@far.test>\n").returncode == 0
    assert programs.run("-oi", ANNA, stdin=b"Subject: 2\n\na\n.\nb\nno end").returncode == 0
    first, second = programs.mail(server)
    assert first.endswith(b"\r\n\r\na\r\n..\r\n.b\r\n")
    assert second.endswith(b"\r\n\r\na\r\n.\r\nb\r\nno end\r\n")


def test_the_socket_is_for_all_and_the_link_beside_the_data_leads_to_it(server: Daemon, programs: LocalMail) -> None:
    assert programs.socket.stat().st_mode & 0o777 == 0o666
    link = server.data / ".server" / "submit.sock"
    assert link.is_symlink()
    assert Path(os.readlink(link)) == programs.socket
    assert server.stop() == 0
    assert not programs.socket.exists()
    assert not link.is_symlink()
    server.start()


def test_a_reload_gives_a_user_other_addresses(server: Daemon, programs: LocalMail) -> None:
    shop = f"shop@{DOMAIN}"
    assert programs.run("-f", shop, ANNA, stdin=b"\nx\n").returncode == 77
    server.write_config({"sendmail": programs.settings + f'\nusers = {{nobody = ["{shop}"]}}'})
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    server.logged("reloaded")
    assert programs.run("-f", shop, ANNA, stdin=b"\nx\n").returncode == 0
    server.write_config({"sendmail": programs.settings})
    assert server.stop() == 0
    server.start()
