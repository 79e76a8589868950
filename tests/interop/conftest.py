"""What the interoperability tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.mail import awkward
from tests.interop.programs import ANNA, FOLDERS, append_all


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory for a program, closed to others as they like it."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def seeded(daemon: Daemon) -> Iterator[Daemon]:
    """A server where anna has the awkward messages in INBOX, and three in each folder of awkward names."""
    append_all(daemon, ANNA, "INBOX", awkward())
    for folder in FOLDERS:
        append_all(daemon, ANNA, folder, awkward()[:3])
    yield daemon
