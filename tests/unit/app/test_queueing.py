"""The queue, the history and the story of a message, as an administrator sees them at the command line."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from mailserver.commands.group import cli
from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.receiver import SILENCE, Receiver
from tests.helpers.submitting import ANNA, arrived, submit
from tests.helpers.waiting import soon, until

BEN = f"ben@{DOMAIN}"


def rcpt(line: bytes) -> bytes | None:
    if b"late" in line:
        return b"451 4.7.1 Come back later\r\n"
    return b"550 5.1.1 No such user here\r\n" if b"nobody" in line else None


def run(daemon: Daemon, *arguments: str, code: int = 0) -> str:
    """What a command writes, to both outputs. It runs here while the server is asked, else in a process of its own."""
    if daemon.running:
        result = CliRunner().invoke(cli, ["--config", str(daemon.config), *arguments])
        assert result.exit_code == code, (result.output, result.exception)
        return result.output
    done = subprocess.run(
        daemon.argv(*arguments), capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_json(daemon: Daemon, *arguments: str) -> Any:
    """The result of a command with --json."""
    return orjson.loads(run(daemon, *arguments, "--json"))


@asynccontextmanager
async def relaying(make: DaemonMaker) -> AsyncIterator[tuple[Daemon, Receiver]]:
    """A running server that gives its mail to a receiver."""
    async with Receiver(answers={"RCPT": rcpt}) as mx:
        settings = {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["1h"]'}
        with make(settings=settings) as daemon:
            yield daemon, mx
            await asyncio.to_thread(daemon.stop)


async def test_a_message_tells_its_story(make_daemon: DaemonMaker) -> None:
    async with relaying(make_daemon) as (daemon, _):
        await asyncio.to_thread(story, daemon)


def story(daemon: Daemon) -> None:
    queue_id = submit(daemon, "bob@far.test", "late@far.test", "nobody@far.test", BEN, name="story")
    # The report, made and delivered.
    until(lambda: run_json(daemon, "history", "--status", "delivered", "--to", ANNA))
    until(lambda: len(run_json(daemon, "queue", "list")) == 1)
    (row,) = run_json(daemon, "queue", "list")
    assert (row["queue_id"], row["status"], row["recipients"]) == (queue_id, "waiting", ["late@far.test"])
    assert row["last_error"] == "451 4.7.1 Come back later"
    shown = run_json(daemon, "queue", "show", queue_id)
    states = {one["address"]: (one["state"], one["attempts"]) for one in shown["recipients"]}
    assert states == {
        "bob@far.test": ("delivered", 1), "late@far.test": ("waiting", 1), "nobody@far.test": ("failed", 1),
    }  # fmt: skip
    told = run(daemon, "why", f"<story@{DOMAIN}>")
    for words in (
        f"{queue_id}; arrived from a user", f"sender {ANNA} (account {ANNA})",
        "bob@far.test: attempt 1: taken by", "said: 250 2.0.0 Kept", "without TLS (opportunistic)",
        f"{BEN}: delivered into the mailbox INBOX", "late@far.test: attempt 1: not yet taken by",
        "said: 451 4.7.1 Come back later", "next attempt",
        f"nobody@far.test: {ANNA} was told that it failed (report ", "said: 550 5.1.1 No such user here",
        f"a report about {queue_id}", f"{ANNA}: delivered into the mailbox INBOX", "It is in the queue now",
    ):  # fmt: skip
        assert words in told, (words, told)
    found = run_json(daemon, "history", "--to", "bob@far.test", "--status", "delivered", "--since", "1h")
    assert [(one["queue_id"], one["code"], one["sender"]) for one in found] == [(queue_id, 250, ANNA)]
    assert run_json(daemon, "history", "--until", "1h") == []
    assert "nothing is known of nothing" in run(daemon, "why", "nothing", code=1)
    # The end of the server, or a restart, changes nothing of it.
    daemon.stop()
    assert "taken by" in run(daemon, "why", queue_id)
    daemon.start()
    assert run(daemon, "queue", "drop", queue_id) == f"1 message dropped: {queue_id}\n"
    assert run(daemon, "queue", "drop", queue_id, code=1).endswith(f"no message {queue_id} waits in the queue\n")
    assert "It has left the queue: 2 delivered, 1 dropped, 1 failed." in run(daemon, "why", queue_id)


async def test_send_later_and_undo(make_daemon: DaemonMaker) -> None:
    """RFC 4865: nobody gets it before its time, also those in our own domain."""
    async with relaying(make_daemon) as (daemon, mx):
        await asyncio.to_thread(later, daemon, mx)


def later(daemon: Daemon, mx: Receiver) -> None:
    undone = submit(daemon, "bob@far.test", BEN, parameters=" HOLDFOR=3600", name="undone")
    kept = submit(daemon, "bob@far.test", BEN, parameters=" HOLDFOR=7200", name="kept")
    soon = submit(daemon, "bob@far.test", BEN, parameters=" HOLDFOR=1", name="soon")
    until(lambda: len(run_json(daemon, "history", "--id", soon, "--status", "delivered")) == 2)
    rows = run_json(daemon, "queue", "list", "--status", "held")
    assert [(row["queue_id"], round(row["held_until"] - row["arrived"], -2)) for row in rows] == [
        (undone, 3600), (kept, 7200),
    ]  # fmt: skip
    assert len(mx.messages) == 1 and b"soon@" in mx.messages[0].content
    assert "as its sender asked" in run(daemon, "queue", "show", kept)
    assert f"{kept} is held; release it instead" in run(daemon, "queue", "retry", kept, code=1)
    run(daemon, "queue", "drop", undone)
    # It is released when no server runs, too.
    daemon.stop()
    assert run(daemon, "queue", "release", kept) == f"1 message released: {kept}\n"
    daemon.start()
    until(lambda: len(run_json(daemon, "history", "--id", kept, "--status", "delivered")) == 2)
    assert len(mx.messages) == 2 and b"kept@" in mx.messages[1].content
    until(lambda: not run_json(daemon, "queue", "list"))
    assert run_json(daemon, "history", "--id", undone, "--status", "delivered") == []


async def test_messages_are_chosen_and_changed(make_daemon: DaemonMaker) -> None:
    async with relaying(make_daemon) as (daemon, _):
        await asyncio.to_thread(choices, daemon)


def choices(daemon: Daemon) -> None:
    first, second = (submit(daemon, "late@far.test", name=name) for name in ("first", "second"))
    third = submit(daemon, "late@else.test", name="third")
    until(lambda: [row["attempts"] for row in run_json(daemon, "queue", "list", "--status", "waiting")] == [1, 1, 1])

    def ids(*arguments: str) -> list[str]:
        return [row["queue_id"] for row in run_json(daemon, "queue", "list", *arguments)]

    everything = [first, second, third]
    assert ids() == ids("--from", DOMAIN) == ids("--from", "ANNA@*") == ids("--to", "late@*") == everything
    assert ids("--domain", "far.test") == ids("--to", "far.test") == [first, second]
    assert ids("--to", "late@else.test", "--status", "waiting") == ids("--id", third) == [third]
    assert ids("--older", "1h") == ids("--from", "<>") == ids("--status", "held") == []
    assert run(daemon, "queue", "list", "--older", "1h") == "nothing matches\n"

    assert "say which messages" in run(daemon, "queue", "hold", code=2)
    assert "is no time" in run(daemon, "queue", "list", "--older", "soon", code=2)
    assert run(daemon, "queue", "hold", "--domain", "far.test") == f"2 messages held: {first}, {second}\n"
    shown = run(daemon, "queue", "show", first)
    assert "held until somebody releases it" in shown and "tried until" not in shown
    assert "now, and held until it is released:" in run(daemon, "why", first)
    assert run_json(daemon, "queue", "show", first)["expires"] is None
    assert ids("--status", "held") == [first, second]
    assert run(daemon, "queue", "release", first, "--json").count(first) == 1
    until(lambda: run_json(daemon, "queue", "show", first)["recipients"][0]["attempts"] == 2)
    assert f"{first} is not held" in run(daemon, "queue", "release", first, code=1)

    assert "1 message tried now" in run(daemon, "queue", "retry", third)
    until(lambda: run_json(daemon, "queue", "show", third)["recipients"][0]["attempts"] == 2)
    before = time.time()
    run(daemon, "queue", "reschedule", third, "--at", "2h")
    planned = run_json(daemon, "queue", "show", third)["recipients"][0]["next_attempt"]
    assert 7190 < planned - before < 7260
    flushed = run_json(daemon, "queue", "flush")
    assert (set(flushed["changed"]), flushed["left"]) == ({first, third}, [second])
    until(lambda: run_json(daemon, "queue", "show", third)["recipients"][0]["attempts"] == 3)

    assert "3 messages will be thrown away" in run(daemon, "queue", "drop", "--all", code=1)
    assert ids() == everything
    assert "nothing matches" in run(daemon, "queue", "drop", "--to", "nobody@*", "--yes", code=1)
    missing = "0123456789abcdef"
    told = run(daemon, "queue", "drop", first, missing, "--yes", code=1)
    assert "1 message dropped" in told and f"no message {missing} waits" in told
    assert "2 messages dropped" in run(daemon, "queue", "drop", "--from", ANNA, "--yes")
    assert run(daemon, "queue", "list") == "the queue is empty\n"

    # Who did what is remembered; a flush was about none of them.
    me = pwd.getpwuid(os.getuid()).pw_name
    events = run_json(daemon, "history", "--id", first)
    assert [(row["status"], row["report"]) for row in reversed(events) if row["report"]] == [
        ("held", me), ("released", me), ("dropped", me),
    ]  # fmt: skip
    (row,) = run_json(daemon, "history", "--id", third, "--status", "rescheduled")
    assert row["next_attempt"] == planned
    assert [row["queue_id"] for row in run_json(daemon, "history", "--status", "retried")] == [third]
    told = run(daemon, "why", first)
    for words in ("held by", "released by", "dropped by"):
        assert f"late@far.test: {words} {me}" in told
    assert f"by {me}" in run(daemon, "history", "--status", "dropped") and "changed by hand" in daemon.log_text()


async def test_a_second_copy_after_a_crash_is_told(make_daemon: DaemonMaker) -> None:
    """RFC 1047: killed between the end of the message and its answer, the server sends it again, and says so."""
    async with Receiver(answers={"END": [SILENCE, None]}) as mx:
        settings = {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["1h"]'}
        daemon = await asyncio.to_thread(make_daemon, settings=settings)
        await asyncio.to_thread(daemon.start)
        queue_id = await asyncio.to_thread(submit, daemon, "bob@far.test", name="twice")
        await soon(lambda: "END" in mx._used)
        await asyncio.to_thread(daemon.kill9)
        await asyncio.to_thread(daemon.start)
        told = await asyncio.to_thread(run, daemon, "why", queue_id)
        assert "it may have arrived already" in told
        await asyncio.to_thread(run, daemon, "queue", "retry", queue_id)
        await arrived(mx, 1)
        told = await asyncio.to_thread(until, lambda: delivered(daemon, queue_id))
        assert "bob@far.test: tried at once by" in told and "there may be two: an earlier attempt was cut off" in told
        (row,) = await asyncio.to_thread(run_json, daemon, "history", "--id", queue_id, "--status", "delivered")
        assert row["doubtful"] == 1
        await asyncio.to_thread(daemon.stop)


def delivered(daemon: Daemon, queue_id: str) -> str:
    """What `why` says, once it is."""
    told = run(daemon, "why", queue_id)
    return told if "It is delivered" in told else ""


def test_send_later_from_the_command_line(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_text(f"To: {BEN}\n\nHello.\n")
    with make_daemon() as daemon:
        before = time.time()
        run(daemon, "send", "--from", ANNA, "--at", "2h", str(message))
        (row,) = run_json(daemon, "queue", "list", "--status", "held")
        assert row["recipients"] == [BEN] and 7190 < row["held_until"] - before < 7260
        for at in ("2001-02-03", "31d"):
            assert "a message is held until" in run(daemon, "send", "--from", ANNA, "--at", at, str(message), code=1)


@pytest.mark.parametrize("command", ["queue list", "history"])
def test_without_a_server_and_without_mail(make_daemon: DaemonMaker, command: str) -> None:
    daemon = make_daemon()
    assert run_json(daemon, *command.split()) == []
