"""Durable files, on a disk that works and on one that fails at its n-th call."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailserver.net import files

#: What changes a disk or makes it durable.
CALLS = ("open", "writev", "write", "fsync", "rename", "mkdir", "link", "unlink", "close", "utime")


class FailingDisk:
    """Stands in for `os` in files.py: notes every call, and fails the n-th of them (0: none)."""

    def __init__(self, fail_at: int = 0, code: int = errno.EIO) -> None:
        self.calls: list[str] = []
        self.done: list[str] = []
        self._fail_at = fail_at
        self._code = code

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._noted(name, real) if name in CALLS else real

    def _noted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self._fail_at:
                if name == "close":
                    real(*arguments)
                raise OSError(self._code, os.strerror(self._code))
            result = real(*arguments, **keywords)
            self.done.append(name)
            return result

        return call


def every_failure(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], check: Callable[[FailingDisk], None]
) -> int:
    """Run `work` with a failure at each of its calls; `check` after each. How many there were."""
    at = 0
    while True:
        at += 1
        disk = FailingDisk(at)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", disk)
            with suppress(OSError):
                work()
        if len(disk.calls) < at:
            return at - 1
        check(disk)


def order(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> list[str]:
    disk = FailingDisk()
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", disk)
        work()
    return [call for call in disk.calls if call not in ("open", "close")]


def test_write_durably_syncs_data_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    assert order(monkeypatch, lambda: files.write_durably(str(path), b"new")) == ["writev", "fsync", "rename", "fsync"]
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["state"]


def test_write_durably_leaves_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def check(disk: FailingDisk) -> None:
        assert path.read_bytes() == (b"new" if "rename" in disk.done else b"old")
        assert os.listdir(tmp_path) == ["state"], "nothing is left behind"
        assert disk.calls.count("fsync") <= 2, "a sync that failed is not tried again"
        path.write_bytes(b"old")

    assert every_failure(monkeypatch, lambda: files.write_durably(str(path), b"new"), check) >= 6
    assert path.read_bytes() == b"new"


def test_append_durably_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    files.append_durably(str(path), b"one\n")

    def check(disk: FailingDisk) -> None:
        assert path.read_bytes().startswith(b"one\n")
        path.write_bytes(b"one\n")

    every_failure(monkeypatch, lambda: files.append_durably(str(path), b"two\n"), check)
    assert path.read_bytes() == b"one\ntwo\n"
    fresh = tmp_path / "fresh"
    assert order(monkeypatch, lambda: files.append_durably(str(fresh), b"x")) == ["writev", "fsync", "fsync"]


def test_make_dir_makes_parents_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b"
    calls = order(monkeypatch, lambda: files.make_dir(str(path)))
    assert calls.count("mkdir") == 3 and calls.count("fsync") == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert files.make_dir(str(path)) is False


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    fd = files.open_new(str(path))

    def writev(descriptor: int, buffers: list[bytes]) -> int:
        return os.write(descriptor, b"".join(buffers)[:3])

    def write(descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data[:2])

    monkeypatch.setattr(files, "os", SimpleNamespace(**vars(os) | {"writev": writev, "write": write}))
    files.write_all(fd, (b"abcd", b"efgh", b"i"))
    os.close(fd)
    assert path.read_bytes() == b"abcdefghi"


def test_many_buffers(tmp_path: Path) -> None:
    fd = files.open_new(str(tmp_path / "file"))
    files.write_all(fd, [b"ab"] * 5000)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"ab" * 5000


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "missing"])
def test_open_regular_opens_nothing_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    (tmp_path / "real").write_bytes(b"secret")
    if kind == "symlink":
        path.symlink_to(tmp_path / "real")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    with pytest.raises(FileNotFoundError):
        files.open_regular(str(path))


def test_read_file_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read_file(str(path), 5) == b"12345"
    with pytest.raises(OSError, match="longer") as caught:
        files.read_file(str(path), 4)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_where_there_can_be_no_link_there_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    os.utime(source, (1_000_000_000, 1_000_000_000))

    def link(*arguments: object, **keywords: object) -> None:
        raise OSError(code, os.strerror(code))

    disk = SimpleNamespace(**vars(os) | {"link": link})
    monkeypatch.setattr(files, "os", disk)
    files.link_or_copy(str(source), str(tmp_path / "target"), str(tmp_path / "spare"))
    target = (tmp_path / "target").stat()
    assert (target.st_size, int(target.st_mtime), target.st_nlink) == (3_000_000, 1_000_000_000, 1)


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"data")

    def check(disk: FailingDisk) -> None:
        if disk.calls[-1] == "unlink":
            target.unlink()
        assert not target.exists() or disk.calls[-1] == "close"
        target.unlink(missing_ok=True)

    every_failure(monkeypatch, lambda: files.copy_durably(str(source), str(target)), check)
    assert target.read_bytes() == b"data"


def test_remove_tree_does_not_follow_links_and_can_be_repeated(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").touch()
    (tree / "link").symlink_to(outside)
    files.remove_tree(str(tree))
    files.remove_tree(str(tree))
    assert not tree.exists() and (outside / "kept").exists()


def test_link_of_a_symlink_is_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    files.link_or_copy(str(tmp_path / "link"), str(tmp_path / "target"), str(tmp_path / "spare"))
    assert (tmp_path / "target").is_symlink()
