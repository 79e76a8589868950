"""sendmail(1): options, messages as programs write them, exit codes, and what happens when nobody answers."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mailserver.app.lock import data_lock
from mailserver.commands.mta.message import Message, addresses
from mailserver.commands.mta.options import Options, parse
from mailserver.commands.mta.places import submit_socket
from mailserver.commands.mta.status import Stopped, of_reply
from mailserver.commands.mta.submit import order, submit
from mailserver.net.submit_client import NoServer, SubmitClient
from tests.helpers.daemon import DOMAIN

REPOSITORY = Path(__file__).parents[3]


# Options


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        ("-t -i", {"extract": True, "dot_ends": False}),
        ("-ti", {"extract": True, "dot_ends": False}),
        ("-oi -oem -odb a@b", {"dot_ends": False, "recipients": ("a@b",)}),
        ("-o i", {"dot_ends": False}),
        ("-O IgnoreDots=true -OQueueDirectory=/x", {"dot_ends": False}),
        ("-i -FCronDaemon -B8BITMIME -oem root", {
            "dot_ends": False, "full_name": "CronDaemon", "eight_bit": True, "recipients": ("root",),
        }),
        ("-fa@b c@d", {"sender": "a@b", "recipients": ("c@d",)}),
        ("-f a@b -- -c@d -t", {"sender": "a@b", "recipients": ("-c@d", "-t")}),
        ("-r <> x", {"sender": "", "recipients": ("x",)}),
        ("-N never", {"notify": "NEVER"}),
        ("-N failure,DELAY,failure", {"notify": "FAILURE,DELAY"}),
        ("-R hdrs -V id1", {"dsn_return": "HDRS", "envelope_id": "id1"}),
        ("-bs", {"mode": "smtp"}), ("-bm x", {"recipients": ("x",)}), ("-bp", {"mode": "list"}),
        ("-bi", {"mode": "nothing"}), ("-I", {"mode": "nothing"}), ("-q", {"mode": "flush"}),
        ("-q30m", {"mode": "flush"}),
        ("-G -n -v -U -Am -L tag -h 5 -p x -X /log -d0.1 x", {"verbose": True, "recipients": ("x",)}),
        ("x -t", {"recipients": ("x", "-t")}),
        ("-C /etc/x.toml x", {"config": "/etc/x.toml", "recipients": ("x",)}),
    ],
)  # fmt: skip
def test_options(words: str, expected: dict[str, Any]) -> None:
    assert parse(words.split()) == Options(**expected)


def test_a_null_sender_may_be_an_empty_word() -> None:
    assert parse(["-f", "", "x"]).sender == ""


@pytest.mark.parametrize("words", ["-f", "-j", "-jt x", "-bd", "-ba", "-bq", "-N sometimes", "-R x", "-B x", "--help"])
def test_wrong_usage_is_64_and_says_which_word(words: str) -> None:
    with pytest.raises(Stopped) as stopped:
        parse(words.split())
    assert stopped.value.code == 64
    assert f"-{words.lstrip('-')[0]}" in str(stopped.value)


def test_the_name_of_the_program_is_an_option_too() -> None:
    assert parse([], program="mailq").mode == "list"
    assert parse([], program="newaliases").mode == "nothing"


# Messages


def message(text: bytes, *, dot_ends: bool = True) -> Message:
    return Message(io.BytesIO(text), dot_ends=dot_ends)


def whole(text: bytes, *, dot_ends: bool = True) -> bytes:
    with message(text, dot_ends=dot_ends) as made:
        return b"".join(made.lines())


def named(text: bytes) -> list[str]:
    with message(text) as made:
        return made.recipients()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Subject: x\n\nbody\n", b"Subject: x\r\n\r\nbody\n"),
        (b"Subject: x\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"hello\n", b"\r\nhello\n"),
        (b"", b"\r\n"),
        (b"\nSubject: x\n", b"\r\nSubject: x\n"),
        (b"Subject: x\nno field\nTo: y\n", b"Subject: x\r\n\r\nno field\nTo: y\n"),
        (b" folded\nSubject: x\n", b"\r\n folded\nSubject: x\n"),
        (b"Subject: x\n y\n\nz", b"Subject: x\r\n y\r\n\r\nz"),
        (b"From www-data Fri Nov 20\nSubject: x\n\nb\n", b"Subject: x\r\n\r\nb\n"),
        (b">From www-data Fri Nov 20\nSubject: x\n\nb\n", b"Subject: x\r\n\r\nb\n"),
        (b"From : a@b\n\nb\n", b"From : a@b\r\n\r\nb\n"),
        (b"a: b\n\nx\n.\ny\n", b"a: b\r\n\r\nx\n"),
        (b"a: b\n\nx\n.\r\ny\n", b"a: b\r\n\r\nx\n"),
        (b"a: b\n\nx\n.", b"a: b\r\n\r\nx\n"),
        (b"a: b\n.\ny\n", b"a: b\r\n\r\n"),
    ],
)
def test_a_message_is_what_programs_meant(text: bytes, expected: bytes) -> None:
    assert whole(text) == expected


def test_a_lone_dot_is_text_with_i() -> None:
    assert whole(b"a: b\n\nx\n.\ny\n", dot_ends=False) == b"a: b\r\n\r\nx\n.\ny\n"


def test_a_large_message_is_kept_in_a_file_and_may_be_read_again() -> None:
    text = b"a: b\n\n" + b"line\n" * 500_000
    with message(text) as made:
        assert b"".join(made.lines()) == b"".join(made.lines()) == text.replace(b"a: b\n\n", b"a: b\r\n\r\n")
        assert made.size == len(text) + 500_002
        with made.file() as file:
            assert file.read() == b"".join(made.lines())


def test_recipients_of_the_header() -> None:
    text = b"To: a@b.c, root\nCc: G: d@e.f, Ann <ann>;\nBcc: \"x y\"@z.q\nX-To: no@no\n\nTo: no@no\n"
    assert named(text) == ["a@b.c", "root@localhost", "d@e.f", "ann@localhost", '"x y"@z.q']
    assert named(b"To: a@b.c\nResent-To: d@e.f\nResent-Bcc: g@h.i\n\n") == ["d@e.f", "g@h.i"]
    assert named(b"To: undisclosed-recipients:;\n\n") == []


@pytest.mark.parametrize("text", [b"John Doe", b"a@b@c", b'"open', b"a@b c", b"<a@b", b"a@", b"@b"])
def test_what_is_no_address_is_65(text: bytes) -> None:
    with pytest.raises(Stopped) as stopped:
        addresses(text)
    assert stopped.value.code == 65


def test_the_envelope_as_it_is_said() -> None:
    options = Options(notify="NEVER", dsn_return="FULL", envelope_id="a b")
    with message(b"a: b\n\n\xe4\n") as text:
        made = order(text, options, "s@localhost", ["a@b", "c@d", "a@b"])
    assert made.mail == "FROM:<s@localhost> SIZE=11 BODY=8BITMIME RET=FULL ENVID=a+20b"
    assert made.recipients == (("a@b", "TO:<a@b> NOTIFY=NEVER"), ("c@d", "TO:<c@d> NOTIFY=NEVER"))
    with message(b"\n") as text:
        assert order(text, Options(), "", ["ä@b"]).mail == "FROM:<> SIZE=2 SMTPUTF8"


# Exit codes


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (450, "4.2.0 later", 75), (421, "4.3.2 stopping", 75), (550, "5.1.1 no such mailbox", 67), (550, "5.1.1", 67),
        (550, "5.1.10 null MX", 67), (550, "5.1.2 no domain", 68), (501, "5.1.3 bad", 65), (552, "5.3.4 large", 65),
        (553, "5.7.1 not yours", 77), (554, "5.3.5 no domain", 69), (554, "nothing", 69), (550, "5.6.7 utf8", 65),
    ],
)  # fmt: skip
def test_what_a_refusal_becomes(code: int, text: str, expected: int) -> None:
    assert of_reply(code, text) == expected


# Places


def test_the_socket_is_found_by_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('data_dir = "d"\n[sendmail]\nsocket = "s.sock"\n')
    assert submit_socket(str(config)) == tmp_path / "s.sock"
    config.write_text('data_dir = "d"\n')
    assert submit_socket(str(config)) == tmp_path / "d" / ".server" / "submit.sock"
    config.write_text("= nonsense")
    with pytest.raises(Stopped) as stopped:
        submit_socket(str(config))
    assert stopped.value.code == 78


def test_without_a_configuration_it_is_at_its_usual_place_and_the_current_directory_means_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailserver.commands.mta.places.SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[sendmail]\nsocket = "/elsewhere"\n')
    assert submit_socket("") == Path("/run/mailserver/submit.sock")


# The program, with a server that misbehaves, and without one


class Door:
    """A socket where each connection gets the next of these answers, and is closed."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.path = path
        self._answers = answers

    def __enter__(self) -> Door:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(60)
        self._listening.close()

    def _serve(self) -> None:
        for answer in self._answers:
            with self._listening.accept()[0] as connection:
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "c.toml"
    file.write_text(f'hostname = "mail.{DOMAIN}"\ndata_dir = "data"\n[domains."{DOMAIN}"]\n[sendmail]\nsocket = "s"\n')
    return file


def run(config: Path, *words: str, stdin: bytes = b"\nx\n") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, REPOSITORY / "cli.py", "sendmail", "-C", config, *words], input=stdin, capture_output=True,
        timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"", 75, b"the server closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 75, b"no mail server"),
        (b"220 " + b"x" * 70_000, 75, b"no mail server"),
        (b"554 5.7.1 You \x1b[31mmay not\r\n", 77, b"not sent: 5.7.1 You  [31mmay not (554)"),
        (b"220 x\r\n250 x\r\n450 4.7.1 Later\r\n", 75, b"4.7.1 Later (450)"),
        (b"220 x\r\n250 x\r\n250 x\r\n550 5.1.1 No\r\n250 x\r\n221 x\r\n", 67, b"not sent to a@b: 5.1.1 No (550)"),
        (b"220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n", 75, b"closed the connection"),
        (b"220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n552 5.3.4 Large\r\n", 65, b"5.3.4 Large (552)"),
        (b"220 x\r\n250-x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n250 2.0.0 Kept\r\n221 x\r\n", 0, b""),
    ],
)
def test_each_failure_has_its_code_and_its_words(config: Path, answer: bytes, code: int, words: bytes) -> None:
    with Door(config.parent / "s", answer):
        done = run(config, "a@b")
    assert done.returncode == code, done
    assert words in done.stderr
    assert bool(done.stderr) == bool(code)


def test_a_busy_server_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("mailserver.net.submit_client.time.sleep", waited.append)
    busy, free = b"421 4.7.0 too many connections of yours\r\n", b"220 x\r\n"
    with Door(tmp_path / "s", busy, busy, free), SubmitClient(tmp_path / "s") as client:
        assert client.greeting() == (220, "x")
    assert len(waited) == 2


def test_a_server_that_restarts_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(tmp_path / "s", b"220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n250 2.0.0 Kept\r\n221 x\r\n")
    monkeypatch.setattr("mailserver.commands.mta.submit.time.sleep", lambda seconds: door.__enter__())
    monkeypatch.setattr("mailserver.commands.mta.submit.own_data", lambda config: None)
    with message(b"\nx\n") as text:
        done = submit(door.path, text, order(text, Options(), "s@localhost", ["a@b"]), Options())
    door.__exit__()
    assert done == ["2.0.0 Kept"]


def test_many_recipients_are_given_in_as_many_messages_as_the_server_says(tmp_path: Path) -> None:
    one = b"250 x\r\n" + b"250 x\r\n" * 2 + b"354 x\r\n250 2.0.0 Kept\r\n"
    answers = b"220 x\r\n250-x\r\n250 LIMITS RCPTMAX=2\r\n" + one * 2 + b"221 x\r\n"
    with Door(tmp_path / "s", answers), message(b"\nx\n") as text:
        what = order(text, Options(), "s@localhost", ["a@b", "c@d", "e@f", "g@h"])
        assert submit(tmp_path / "s", text, what, Options()) == ["2.0.0 Kept"] * 2


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match="No such file"):
        SubmitClient(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with pytest.raises(NoServer, match="refused"):
        SubmitClient(tmp_path / "s")


def test_a_server_that_does_not_answer_yet_keeps_everybody_waiting(config: Path) -> None:
    with data_lock(config.parent / "data"):
        done = run(config, f"root@{DOMAIN}")
        assert done.returncode == 75
        assert b"no mail server answers" in done.stderr
        done = run(config, "-bs", stdin=b"QUIT\r\n")
        assert (done.returncode, done.stdout[:4]) == (75, b"421 ")


def test_without_a_server_the_owner_of_the_data_hands_in_directly(config: Path) -> None:
    add = [sys.executable, str(REPOSITORY / "cli.py"), "--config", str(config), "account", "add", f"anna@{DOMAIN}"]
    subprocess.run(add, input=b"a password\n", check=True, timeout=100, capture_output=True)
    done = run(config, "-v", "-f", f"shop@{DOMAIN}", "root", "gone", f"anna@{DOMAIN}", stdin=b"Subject: s\n\nx\n")
    assert done.returncode == 67, done
    assert done.stderr.splitlines() == [
        b"sendmail: not sent to gone@localhost: 5.1.1 No such mailbox here (550)", b"sendmail: sent to all others",
    ]  # fmt: skip
    [kept] = (config.parent / "data" / DOMAIN / "anna" / "new").iterdir()
    text = kept.read_bytes()
    assert f"From: shop@{DOMAIN}\r\n".encode() in text
    assert text.endswith(b"Subject: s\r\n\r\nx\r\n")
    done = run(config, "-f", "x@far.test", "root")
    assert (done.returncode, b"not served here" in done.stderr) == (77, True)
    done = run(config, "-bp")
    assert (done.returncode, done.stdout) == (0, b"the queue is empty\n")


def test_cron_does_not_wait_for_the_import_of_a_server() -> None:
    script = (
        "import sys\nbefore = set(sys.modules)\nimport mailserver.commands.mta.program\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{script}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    heavy = {"asyncio", "click", "pydantic", "dataclasses", "inspect", "structlog", "ssl", "logging", "email", "json"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("name", ["sendmail", "mailq", "newaliases"])
def test_a_link_of_that_name_is_that_program(tmp_path: Path, name: str) -> None:
    link = tmp_path / name
    link.symlink_to(REPOSITORY / "cli.py")
    done = subprocess.run(
        [sys.executable, link, "-C", tmp_path / "none.toml"], stdin=subprocess.DEVNULL, capture_output=True,
        check=False, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == {"sendmail": 64, "mailq": 78, "newaliases": 0}[name], done
    assert not done.stderr or done.stderr.startswith(f"{name}: ".encode())
