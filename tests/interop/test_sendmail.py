"""Programs that send through sendmail(1), each as a user of its own: mutt, mailx, PHP, git, and what leaves us then."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.net.unix import bind_unix
from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.local_mail import NOBODY, LocalMail, local_mail, other_users
from tests.helpers.receiver import Receiver
from tests.interop.programs import needs

pytestmark = [pytest.mark.interop, other_users]

ANNA = f"anna@{DOMAIN}"
MINE = f"nobody@{DOMAIN}"
LOOPS = ["uvloop", "asyncio"]


def git_send_email() -> bool:
    """Is it there, and not only git?"""
    if shutil.which("git") is None:
        return False
    path = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=False).stdout.strip()
    return (Path(path) / "git-send-email").exists()


@pytest.fixture(scope="module")
def programs() -> Iterator[LocalMail]:
    with local_mail() as made:
        yield made


@pytest.fixture
def server(make_daemon: DaemonMaker, programs: LocalMail) -> Iterator[Daemon]:
    with make_daemon(settings={"sendmail": programs.settings}) as daemon:
        yield daemon


def sole(server: Daemon, programs: LocalMail) -> str:
    [message] = programs.mail(server)
    return message.decode()


@pytest.mark.parametrize("program", [pytest.param(name, marks=needs(name)) for name in ("mutt", "neomutt")])
def test_mutt(server: Daemon, programs: LocalMail, program: str) -> None:
    settings = [
        f'set sendmail="{programs.program} -oem -oi"', 'set record=""', "set use_envelope_from=yes",
        "set send_charset=utf-8", 'set dsn_notify="failure"', 'set dsn_return="hdrs"',
    ]  # fmt: skip
    words = [word for setting in settings for word in ("-e", setting)]
    done = programs.run("-n", *words, "-s", "Grüße", "root", stdin="Zeile\n.\nä\n".encode(), program=program)
    assert done.returncode == 0, done
    text = sole(server, programs)
    assert f"<{MINE}>\r\n" in text
    assert "\r\n.\r\nä\r\n" in text


@needs("bsd-mailx")
def test_mailx(server: Daemon, programs: LocalMail) -> None:
    (programs.root / ".mailrc").write_text(f"set sendmail={programs.program}\n")
    (programs.root / ".mailrc").chmod(0o644)
    done = programs.run("-s", "subject", "root", stdin=b"body\n", program="bsd-mailx")
    assert (done.returncode, done.stderr) == (0, b"")
    text = sole(server, programs)
    assert f"From: {MINE}\r\n" in text
    assert "To: root@" in text
    assert text.endswith("\r\n\r\nbody\r\n")


@needs("php")
def test_php(server: Daemon, programs: LocalMail) -> None:
    for call, good in (
        (f'mail("{ANNA}", "Grüße", "one\\n.\\ntwo")', True),
        (f'mail("{ANNA}", "s", "x", "From: {ANNA}")', False),
        (f'mail("{ANNA}", "s", "x", "", "-f{ANNA}")', False),
    ):
        words = ["-d", f"sendmail_path={programs.program} -t -i", "-r", f"exit({call} ? 0 : 3);"]
        assert programs.run(*words, program="php").returncode == (0 if good else 3)
    assert "\r\n\r\none\r\n.\r\ntwo\r\n" in sole(server, programs)


def test_a_shell_as_php_calls_it(server: Daemon, programs: LocalMail) -> None:
    """mail() gives these words to popen(3), and the header with CRLF before a body with LF."""
    text = f"To: {ANNA}\r\nSubject: s\r\nX-PHP-Originating-Script: 33:a.php\r\nCc: ben@{DOMAIN}\r\n\r\none\n.\ntwo\n"
    done = programs.call(["/bin/sh", "-c", f"{programs.program} -t -i"], stdin=text.encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sole(server, programs).endswith("\r\n\r\none\r\n.\r\ntwo\r\n")
    assert len(programs.mail(server, "ben")) == 1


@pytest.mark.skipif(not git_send_email(), reason="not installed: git send-email")
def test_git_send_email(server: Daemon, programs: LocalMail) -> None:
    patch = programs.root / "0001.patch"
    patch.write_text(f"From 0123456789 Mon Sep 17 00:00:00 2001\nFrom: {MINE}\nSubject: [PATCH] a\n\nb\n---\n")
    patch.chmod(0o644)
    words = [
        "-c", f"user.email={MINE}", "-c", "user.name=Nobody", "send-email", "--quiet", "--confirm=never",
        f"--sendmail-cmd={programs.program}", f"--from={MINE}",
        f"--to={ANNA}", "--suppress-cc=all", str(patch),
    ]  # fmt: skip
    done = programs.run(*words, program="git")
    assert done.returncode == 0, done
    assert "Subject: [PATCH] a\r\n" in sole(server, programs)


async def test_what_leaves_us_is_signed_and_its_reports_reach_somebody(
    make_daemon: DaemonMaker, programs: LocalMail
) -> None:
    async with Receiver() as mx:
        queue = f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true'
        with make_daemon(settings={"sendmail": programs.settings, "queue": queue}) as daemon:
            words = ["-N", "never", "-V", "id7", "x@far.test"]
            done = await asyncio.to_thread(programs.run, *words, stdin=b"Subject: s\n\nx\n")
            assert done.returncode == 0, done
            await mx.arrived()
            await asyncio.to_thread(daemon.stop)
    [message] = mx.messages
    assert f"FROM:<postmaster@{DOMAIN}>" in message.mail
    assert "ENVID=id7" in message.mail
    assert "NOTIFY=NEVER" in message.recipients[0]
    assert f"From: {MINE}\r\n".encode() in message.content
    assert message.content.count(f"d={DOMAIN};".encode()) == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_socket_of_systemd_is_answered_and_left_where_it_is(
    make_daemon: DaemonMaker, programs: LocalMail, loop: str
) -> None:
    """As mailserver-sendmail.socket makes it; who comes before the server is there waits for it."""
    programs.socket.unlink(missing_ok=True)
    with bind_unix(programs.socket, 0o666) as listening:
        listening.listen()
        daemon = make_daemon(settings={"": f'event_loop = "{loop}"'}, inherit={"sendmail": listening})
        with subprocess.Popen(
            [programs.program, "root"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, user=NOBODY, group=NOBODY,
            extra_groups=[], cwd="/",
        ) as early:  # fmt: skip
            assert early.stdin is not None
            early.stdin.write(b"Subject: early\n\nx\n")
            early.stdin.close()
            with daemon:
                assert early.wait(60) == 0
        assert programs.socket.is_socket()
        with daemon:
            assert programs.run("root", stdin=b"Subject: late\n\nx\n").returncode == 0
        assert programs.socket.is_socket()
        assert len(programs.mail(daemon)) == 2
    programs.socket.unlink()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_at_whose_place_another_listens_does_not_start(
    make_daemon: DaemonMaker, programs: LocalMail, loop: str
) -> None:
    settings = {"": f'event_loop = "{loop}"', "sendmail": programs.settings}
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(programs.socket))
        other.listen()
        daemon = make_daemon(settings=settings)
        daemon.start(wait=False)
        assert daemon.process is not None
        assert daemon.process.wait(60) != 0
        assert f"cannot listen on {programs.socket}: another process does" in daemon.log_text()
    # What is left of a process that was killed is no hindrance.
    with daemon:
        assert programs.run("root", stdin=b"Subject: s\n\nx\n").returncode == 0
