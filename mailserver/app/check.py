"""`check`: everything that a start does, except touching the data and binding addresses."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from mailserver.app import logs
from mailserver.app.build import build
from mailserver.app.checks import account_warnings, environment_warnings
from mailserver.app.load import Loaded
from mailserver.app.paths import state_dir
from mailserver.app.run import load_everything
from mailserver.net.dns.probing import resolver_warnings

__all__ = ["Checked", "check"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration that works, and what should still be different."""

    file: Path
    warnings: list[str]


def check(named: str | None) -> Checked:
    """Load a configuration and build a server from it, over an empty directory in place of its data.

    Accounts are taken along in a copy, because they may clash with the configuration; a running server notices nothing.

    Raises:
        ConfigurationError: with all problems at once.
    """
    logs.configure("warning", "text")
    loaded = load_everything(named)
    with tempfile.TemporaryDirectory(prefix="mailserver-check-") as directory:
        scratch = Path(directory) / "data"
        state_dir(scratch).mkdir(parents=True, mode=0o700)
        _copy_accounts(state_dir(loaded.data_dir) / "accounts.db", state_dir(scratch) / "accounts.db")
        config = loaded.config.model_copy(update={"data_dir": str(scratch)})
        warnings = asyncio.run(_build(replace(loaded, config=config)))
    return Checked(loaded.document.file, environment_warnings(loaded) + warnings)


def _copy_accounts(source: Path, target: Path) -> None:
    if not source.exists():
        return
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)


async def _build(loaded: Loaded) -> list[str]:
    async with AsyncExitStack() as stack:
        app = await build(loaded, stack)
        found = account_warnings(loaded.config, app.directory)
        # Behind a relay mail finds its way without DNS.
        return found if loaded.config.queue.relay else found + await resolver_warnings(app.resolver.servers)
