from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mailserver.app.health import PROBE_LIMIT, TICK, Health, HealthService, watchdog_interval
from mailserver.net import space
from mailserver.net.space import DiskSpace
from tests.helpers.clock import FakeClock


class Recorder:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, *assignments: str) -> None:
        self.sent.extend(assignments)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(tmp_path: Path, clock: FakeClock) -> Health:
    made = Health(DiskSpace(tmp_path, clock), clock)
    made.serving = True
    return made


def heard(health: Health, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, list[str]]:
    """What probes report, and when."""
    ended = asyncio.Event()
    errors: list[str] = []

    def note(error: str) -> None:
        errors.append(error)
        ended.set()

    monkeypatch.setattr(health, "probe_ended", note)
    return ended, errors


def service(health: Health, path: Path) -> tuple[HealthService, Recorder]:
    recorder = Recorder()
    return HealthService(health, path / "probe", recorder, 1.0), recorder  # type: ignore[arg-type]


def test_well(health: Health, clock: FakeClock) -> None:
    clock.advance(TICK)
    health.tick()
    assert health.live() == health.ready() == []


def test_n06_a_loop_that_was_blocked_is_not_alive(health: Health, clock: FakeClock, tmp_path: Path) -> None:
    watched, told = service(health, tmp_path)
    watched.ping()
    assert told.sent == ["WATCHDOG=1"]
    clock.advance(60)
    health.tick()
    assert health.live()[0] == "the event loop was 59.5 s late"
    watched.ping()
    assert told.sent == ["WATCHDOG=1"], "the watchdog heard that all is well"
    clock.advance(TICK)
    health.tick()
    assert "event loop" not in " ".join(health.live())


def test_n06_a_disk_that_does_not_answer_is_not_alive_and_not_ready(
    health: Health, clock: FakeClock, tmp_path: Path
) -> None:
    watched, told = service(health, tmp_path)
    # The thread of the probe is stuck: it never reports.
    for _ in range(int(PROBE_LIMIT / TICK) + 1):
        clock.advance(TICK)
        health.tick()
    assert health.live() == ["no write to the data directory succeeded for 20 s"]
    assert health.ready() == health.live()
    watched.ping()
    assert told.sent == []
    health.probe_ended("")
    watched.ping()
    assert told.sent == ["WATCHDOG=1"]


def test_a_disk_that_refuses_is_not_ready_at_once(health: Health) -> None:
    health.probe_ended("No space left on device")
    assert health.live() == []
    assert health.ready() == ["the data directory cannot be written: No space left on device"]
    health.probe_ended("")
    assert health.ready() == []


def test_not_ready_while_starting_and_stopping(health: Health) -> None:
    health.serving = False
    assert health.live() == []
    assert health.ready() == ["starting or stopping"]


def test_not_ready_without_space(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "MIN_FREE_OCTETS", 1 << 62)
    assert health.ready() == ["the disk is full"]


async def test_the_service_probes_and_pings(health: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, errors = heard(health, monkeypatch)
    watched, told = service(health, tmp_path)
    stopping, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(watched.run(ready.set, stopping))
    await ended.wait()
    assert ready.is_set()
    assert errors == [""]
    assert told.sent == ["WATCHDOG=1"]
    assert (tmp_path / "probe").read_bytes() == b"mailserver\n"
    stopping.set()
    await task


async def test_a_probe_that_fails_tells_why(health: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, errors = heard(health, monkeypatch)
    watched, _ = service(health, tmp_path / "missing")
    stopping = asyncio.Event()
    task = asyncio.create_task(watched.run(lambda: None, stopping))
    await ended.wait()
    assert errors == ["No such file or directory"]
    stopping.set()
    await task


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_how_often_the_watchdog_wants_to_hear(environ: dict[str, str], interval: float) -> None:
    assert watchdog_interval(environ) == interval
