from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from mailserver.app.supervise import ServiceExited, Stop, supervise


class Recorded:
    """A service that notes what happens to it."""

    def __init__(self, name: str, log: list[str], *, fail: str = "", drains: bool = True) -> None:
        self.name = name
        self.log = log
        self.fail = fail
        self.drains = drains

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        self.log.append(f"{self.name} starts")
        if self.fail == "before":
            raise OSError("no such port")
        ready()
        if self.fail == "after":
            await asyncio.sleep(0)
            raise OSError("broke")
        if self.fail == "exit":
            return
        await stopping.wait()
        if not self.drains:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.log.append(f"{self.name} aborts")
                raise
        self.log.append(f"{self.name} ends")


async def run(services: list[Recorded], log: list[str], stop: Stop, drain: float = 60.0) -> None:
    def on_ready() -> None:
        log.append("READY")
        stop()

    await supervise(services, stop, drain=drain, on_ready=on_ready, on_stopping=lambda: log.append("STOPPING"))


async def test_services_start_in_order_and_end_when_asked() -> None:
    log: list[str] = []
    await run([Recorded("a", log), Recorded("b", log)], log, Stop())
    assert log == ["a starts", "b starts", "READY", "STOPPING", "a ends", "b ends"]


async def test_a_failure_before_ready_ends_everything() -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        await run([Recorded("a", log), Recorded("b", log, fail="before"), Recorded("c", log)], log, Stop())
    assert caught.group_contains(OSError, match="no such port")
    assert log == ["a starts", "b starts"]


@pytest.mark.parametrize(("how", "error"), [("after", OSError), ("exit", ServiceExited)])
async def test_a_service_that_ends_by_itself_ends_the_process(how: str, error: type[Exception]) -> None:
    log: list[str] = []
    services = [Recorded("a", log), Recorded("b", log, fail=how)]
    with pytest.raises(ExceptionGroup) as caught:
        await supervise(services, Stop(), drain=60.0, on_ready=lambda: None, on_stopping=lambda: None)
    assert caught.group_contains(error)


async def test_what_does_not_finish_in_time_is_cancelled() -> None:
    log: list[str] = []
    await run([Recorded("a", log, drains=False), Recorded("b", log)], log, Stop(), drain=0.0)
    assert log[-1] == "a aborts"
    assert "b ends" in log


async def test_a_second_stop_does_not_wait() -> None:
    log: list[str] = []
    stop = Stop()

    def on_stopping() -> None:
        asyncio.get_running_loop().call_soon(stop)

    services = [Recorded("a", log, drains=False)]
    await supervise(services, stop, drain=3600.0, on_ready=stop, on_stopping=on_stopping)
    assert log == ["a starts", "a aborts"]


async def test_stop_while_starting() -> None:
    log: list[str] = []
    stop = Stop()

    class NeverReady(Recorded):
        async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
            stop()
            await stopping.wait()
            log.append("ends")

    await run([NeverReady("a", log), Recorded("b", log)], log, stop)
    assert sorted(log) == ["STOPPING", "ends"]


async def test_sigterm_and_sigint_mean_stop() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        stop = Stop()
        loop = asyncio.get_running_loop()
        stop.on_signals(loop)
        try:
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stop.requested.wait(), 10)
            assert not stop.hurry.is_set()
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stop.hurry.wait(), 10)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)
