"""What control groups say of memory, in both of their versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.net.memory_limit import memory_limit, share_of_memory


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "268435456\n"}, 256 << 20),
        ("0::/a/b\n", {"a/b/memory.max": "1000\n", "a/memory.max": "2000\n"}, 1000),
        ("0::/gone\n", {"memory.max": "5000\n"}, 5000),
        ("0::/\n", {}, None),
        ("0::/../..\n", {"memory.max": "x"}, None),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "3000\n"}, 3000),
        ("4:cpu,memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("nonsense\n", {}, None),
    ],
)
def test_limits(tmp_path: Path, own: str, files: dict[str, str], limit: int | None) -> None:
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert memory_limit(tmp_path / "own", tmp_path / "root") == limit
    assert memory_limit(tmp_path / "none", tmp_path / "root") is None


def test_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, share in ((None, 128), (10_000, 128), (500, 100)):
        monkeypatch.setattr("mailserver.net.memory_limit.memory_limit", lambda limit=limit: limit)
        assert share_of_memory(128) == share
