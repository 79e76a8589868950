"""Names inside the data directory that the composition uses (DESIGN §5 lists them all)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["control_link", "control_socket", "state_dir", "submit_link", "submit_socket"]


def state_dir(data_dir: Path) -> Path:
    """Everything that is not mail."""
    return data_dir / ".server"


def control_link(data_dir: Path) -> Path:
    """Where commands look for the admin socket: the socket itself, or a symbolic link to it."""
    return state_dir(data_dir) / "control.sock"


def control_socket(data_dir: Path, environ: Mapping[str, str]) -> Path:
    """Where the server puts its admin socket: in the runtime directory that systemd gives, else with the data."""
    return (_runtime(environ) or state_dir(data_dir)) / "control.sock"


def submit_link(data_dir: Path) -> Path:
    """Where `mailserver sendmail` looks first, if it may: the socket for programs on this machine, or a link to it."""
    return state_dir(data_dir) / "submit.sock"


def submit_socket(data_dir: Path, environ: Mapping[str, str], configured: str) -> Path:
    """Where the server puts the socket for programs on this machine."""
    if configured:
        return Path(configured)
    return (_runtime(environ) or state_dir(data_dir)) / "submit.sock"


def _runtime(environ: Mapping[str, str]) -> Path | None:
    name = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(name) if name else None
