"""Names inside the data directory that the composition uses (DESIGN §5 lists them all)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["control_link", "control_socket", "state_dir"]


def state_dir(data_dir: Path) -> Path:
    """Everything that is not mail."""
    return data_dir / ".server"


def control_link(data_dir: Path) -> Path:
    """Where commands look for the admin socket: the socket itself, or a symbolic link to it."""
    return state_dir(data_dir) / "control.sock"


def control_socket(data_dir: Path, environ: Mapping[str, str]) -> Path:
    """Where the server puts its admin socket: in the runtime directory that systemd gives, else with the data."""
    runtime = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(runtime) / "control.sock" if runtime else control_link(data_dir)
