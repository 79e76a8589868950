"""How much memory the machine's manager grants this process: a container, or a unit of systemd with MemoryMax."""

from __future__ import annotations

from pathlib import Path

__all__ = ["memory_limit", "share_of_memory"]

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
#: What stands there for no limit is larger.
_UNLIMITED = 1 << 60


def memory_limit(own: Path = _OWN, root: Path = _ROOT) -> int | None:
    """The lowest limit of the control groups that we are in, in octets; None when there is none, or none is told."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    found: list[int] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            mount, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        # Within a container its own group may be what is mounted: the last step looks there.
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            found += _number(folder / name)
            if folder == mount:
                break
    return min(found, default=None)


def _number(file: Path) -> list[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return []
    return [int(text)] if text.isdecimal() and len(text) < 20 and int(text) < _UNLIMITED else []


def share_of_memory(wanted: int) -> int:
    """`wanted` octets, or a fifth of what we are granted when that is less: the rest is for everything else."""
    limit = memory_limit()
    return wanted if limit is None else min(wanted, limit // 5)
