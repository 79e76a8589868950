"""A full table of files is told once in a while; other faults of the loop are told as ever."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailserver.net.accept_faults import AcceptFaults


async def test_one_line_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, faults = asyncio.get_running_loop(), AcceptFaults()
    others: list[object] = []
    now = 100.0
    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr(loop, "default_exception_handler", others.append)
    full: dict[str, Any] = {"message": "socket.accept()", "exception": OSError(errno.EMFILE, "x"), "socket": object()}
    with capture_logs() as logs:
        for _ in range(1000):
            faults(loop, full)
        assert [(log["log_level"], log["error"]) for log in logs] == [("error", "EMFILE")]
        now += 10
        faults(loop, full)
        assert len(logs) == 2
    for other in ({"message": "x"}, full | {"exception": OSError(errno.EPIPE, "x")}, {"exception": full["exception"]}):
        faults(loop, other)
    assert len(others) == 3
