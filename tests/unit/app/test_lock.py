from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mailserver.app.lock import DataLocked, data_lock, is_locked

HOLDER = """
import sys, pathlib
from mailserver.app.lock import data_lock
with data_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert not is_locked(data)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(data)], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "held\n"
        assert is_locked(data)
        with pytest.raises(DataLocked, match=f"in use by process {other.pid}; stop it first"), data_lock(data):
            pytest.fail("two owners")
        other.kill()
        other.wait()
    # At any death the kernel gives it back.
    assert not is_locked(data)
    with data_lock(data):
        assert is_locked(data)
    assert not is_locked(data)


def test_what_is_made_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    old = os.umask(0)
    try:
        with data_lock(data):
            assert stat.S_IMODE((data / ".server").stat().st_mode) == 0o700
            assert stat.S_IMODE((data / ".server" / "lock").stat().st_mode) == 0o600
            assert stat.S_IMODE(data.stat().st_mode) == 0o700
    finally:
        os.umask(old)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".server").mkdir()
    (tmp_path / ".server" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Too many levels"), data_lock(tmp_path):
        pytest.fail("followed")
