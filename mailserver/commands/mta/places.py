"""Where the server's socket is, for users who may read the configuration and for those who may not."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from mailserver.commands.mta.status import CONFIG, Stopped

__all__ = ["SYSTEM_CONFIG", "SYSTEM_SOCKET", "data_directory", "own_data", "submit_socket"]

#: Nothing in the current directory is looked at: whatever calls sendmail may run anywhere.
SYSTEM_CONFIG = Path("/etc/mailserver/config.toml")
SYSTEM_SOCKET = Path("/run/mailserver/submit.sock")


def submit_socket(config: str) -> Path:
    """The socket that `config` (or the system's configuration) names; the system's own where that cannot be read."""
    settings = _settings(config)
    section = settings.get("sendmail")
    named = section.get("socket") if isinstance(section, dict) else None
    if isinstance(named, str) and named:
        return _beside(config) / named
    data = data_directory(config)
    if data is not None:
        beside = data / ".server" / "submit.sock"
        # False as well for those who may not look there.
        if os.path.lexists(beside):
            return beside
    return beside if config and data is not None else SYSTEM_SOCKET


def data_directory(config: str) -> Path | None:
    """`data_dir` of the configuration; None when nobody here can tell."""
    settings = _settings(config)
    name = settings.get("data_dir", "maildir")
    return _beside(config) / name if settings and isinstance(name, str) else None


def own_data(config: str) -> Path | None:
    """The server's data, for root and for its owner."""
    data = data_directory(config)
    try:
        mine = data is not None and (os.geteuid() == 0 or data.stat().st_uid == os.geteuid())
    except OSError:
        return None
    return data if mine else None


def _beside(config: str) -> Path:
    return Path(os.path.abspath(config or SYSTEM_CONFIG)).parent


def _settings(config: str) -> dict[str, Any]:
    try:
        with open(config or SYSTEM_CONFIG, "rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:
        if config:
            raise Stopped(CONFIG, f"{config}: {getattr(error, 'strerror', None) or error}") from None
        return {}
