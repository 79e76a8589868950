from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from mailserver.app import logs
from mailserver.app.eventlog import log_event
from mailserver.model import events
from mailserver.model.errors import StorageFailure
from mailserver.model.ids import AccountId, QueueId, SessionId
from tests.helpers.daemon import Daemon

OPEN: list[int] = []


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    while OPEN:
        os.close(OPEN.pop())


class Log:
    """A log that writes into a file, and its lines."""

    def __init__(self, path: Path, level: str = "info", form: str = "text", **environ: str) -> None:
        self.path = path / "log"
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        OPEN.append(fd)
        self.writer = logs.configure(level, form, fd, environ)

    def lines(self) -> list[str]:
        self.writer.flush()
        return self.path.read_text(encoding="utf-8").split("\n")[:-1]


def test_one_line_with_the_id_first(tmp_path: Path) -> None:
    log = Log(tmp_path)
    structlog.get_logger().info("accepted", id="01j", size=5, sender="a@b", recipients=("x@y", "z@y"), note="two words")
    (line,) = log.lines()
    assert line[24:] == ' info    01j accepted size=5 sender=a@b recipients=x@y,z@y note="two words"'


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_stack_is_what_the_log_of_a_server_under_test_may_not_have(tmp_path: Path, form: str) -> None:
    log = Log(tmp_path, form=form)
    daemon = Daemon(tmp_path)
    structlog.get_logger().error("trouble", file="/some/where.db", error='File "x"')
    log.lines()
    daemon.check_log()
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        structlog.get_logger().exception("trouble")
    log.lines()
    with pytest.raises(AssertionError, match="trouble"):
        daemon.check_log()


def test_n04_nothing_that_a_peer_chose_makes_a_line_or_commands_a_terminal(tmp_path: Path) -> None:
    log = Log(tmp_path)
    nasty = "a\r\nfake line\x1b[31mred\x07\u202eevil\u2028\x85\ud800\x00\u200b end"
    structlog.get_logger().info(f"event {nasty}", user=nasty, names=[nasty])
    (line,) = log.lines()
    assert all(c.isprintable() for c in line)
    assert "\\x0d\\x0afake line\\x1b[31mred\\x07\\u202eevil\\u2028\\x85\\ud800\\x00\\u200b end" in line


def test_n04_json_is_one_line_too(tmp_path: Path) -> None:
    log = Log(tmp_path, form="json")
    structlog.get_logger().info("x", user="a\n\u202eb\ud800", names=("\x1b", 1))
    (line,) = log.lines()
    assert json.loads(line)["user"] == "a\\x0a\\u202eb\\ud800"
    assert json.loads(line)["names"] == ["\\x1b", 1]
    assert "\u202e" not in line


def test_values_are_bounded(tmp_path: Path) -> None:
    log = Log(tmp_path)
    structlog.get_logger().info("x", user="a" * 100_000, names=["b" * 10] * 1000)
    assert len(log.lines()[0]) < 3000


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_never_written(tmp_path: Path, form: str) -> None:
    log = Log(tmp_path, form=form)
    structlog.get_logger().info(
        "x", password="canary1", api_token="canary2", Authorization="canary3", client_secret=b"canary4"
    )
    (line,) = log.lines()
    assert "canary" not in line
    assert line.count("[secret]") == 4


def test_a_traceback_has_no_values_and_stays_with_its_line(tmp_path: Path) -> None:
    log = Log(tmp_path)
    password = "canary"
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        structlog.get_logger().exception("bug", length=len(password))
    lines = log.lines()
    assert all("    " in line for line in lines[1:])
    assert "canary" not in "\n".join(lines).replace('password = "canary"', "")


def test_n03_what_an_exception_quotes_is_not_written(tmp_path: Path) -> None:
    log = Log(tmp_path)
    try:
        try:
            int("yranac"[::-1])
        except ValueError as error:
            raise StorageFailure("the disk failed", detail="yranac"[::-1]) from error
    except StorageFailure:
        structlog.get_logger().exception("bug")
    text = "\n".join(log.lines())
    assert "canary" not in text
    assert text.index("ValueError") < text.index("which led to") < text.index("StorageFailure: the disk failed")


def test_the_journal_gets_priorities_and_no_time(tmp_path: Path) -> None:
    log = Log(tmp_path, JOURNAL_STREAM="8:123")
    structlog.get_logger().warning("careful", id="s1")
    assert log.lines() == ["<4>s1 careful"]


def test_levels(tmp_path: Path) -> None:
    log = Log(tmp_path, level="warning")
    structlog.get_logger().info("no")
    structlog.get_logger().warning("yes")
    assert len(log.lines()) == 1


def test_libraries_speak_through_the_same_log(tmp_path: Path) -> None:
    log = Log(tmp_path)
    logging.getLogger("some.library").warning("about %s\n", "this")
    logging.getLogger("some.library").info("also")
    logging.getLogger("aiohttp.access").info("never")
    assert [line[25:] for line in log.lines()] == [
        "warning - about this\\x0a source=some.library",
        "info    - also source=some.library",
    ]


async def test_lines_of_one_turn_of_the_loop_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path)
    calls: list[bytes] = []

    def write(fd: int, octets: bytes) -> int:
        calls.append(bytes(octets))
        return len(octets)

    monkeypatch.setattr(os, "write", write)
    for number in range(10):
        structlog.get_logger().info("x", number=number)
    assert calls == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(calls) == 1
    assert calls[0].count(b"\n") == 10
    assert log.writer.dropped == 0


def test_n10_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path)

    def full(fd: int, octets: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    structlog.get_logger().info("x")
    assert log.writer.dropped == 1


SESSION, MESSAGE = SessionId("s1"), QueueId("q1")
EVENTS = [
    (
        events.Accepted(session=SESSION, queue_id=MESSAGE, service="smtp", sender="", recipients=("a@b",), size=5),
        "q1 accepted session=s1 service=smtp sender=<> recipients=a@b size=5",
    ),
    (
        events.Delivered(queue_id=MESSAGE, account=AccountId("a@b"), mailbox="INBOX", uid=7, size=5),
        "q1 delivered account=a@b mailbox=INBOX uid=7 size=5",
    ),
    (
        events.Queued(queue_id=MESSAGE, sender="a@b", recipients=("c@d", "e@f"), size=5),
        "q1 queued sender=a@b recipients=c@d,e@f size=5",
    ),
    (
        events.LoginSucceeded(session=SESSION, service="imap", account=AccountId("a@b"), peer="::1", mechanism="PLAIN"),
        "s1 login service=imap account=a@b peer=::1 mechanism=PLAIN",
    ),
    (
        events.LoginFailed(session=SESSION, service="imap", user="a\nb", peer="::1", mechanism="PLAIN", reason="wrong"),
        's1 login failed service=imap user="a\\x0ab" peer=::1 mechanism=PLAIN reason=wrong',
    ),
    (
        events.Refused(
            session=SESSION,
            service="smtp",
            stage="rcpt",
            peer="::1",
            sender="a@b",
            recipient="c@d",
            code=550,
            reason="no such",
        ),
        's1 refused service=smtp stage=rcpt peer=::1 sender=a@b recipient=c@d code=550 reason="no such"',
    ),
]


@pytest.mark.parametrize(("event", "line"), EVENTS, ids=lambda value: type(value).__name__)
def test_each_fact_is_one_line(event: events.Event, line: str, tmp_path: Path) -> None:
    log = Log(tmp_path)
    log_event(event)
    assert [shown[33:] for shown in log.lines()] == [line]


def test_sessions_are_for_debugging_only(tmp_path: Path) -> None:
    opened = events.SessionOpened(session=SESSION, service="imap", peer="::1", tls=True)
    closed = events.SessionClosed(session=SESSION, service="imap", peer="::1")
    quiet = Log(tmp_path)
    log_event(opened)
    assert quiet.lines() == []
    loud = Log(tmp_path, level="debug")
    log_event(opened)
    log_event(closed)
    assert [line[33:] for line in loud.lines()] == [
        "s1 connected service=imap peer=::1 tls=True",
        "s1 disconnected service=imap peer=::1",
    ]
