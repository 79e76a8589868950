"""The contracts of .importlinter hold; and each of them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def lint(directory: Path, contract: str = "") -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in `directory`."""
    program = Path(sys.executable).with_name("lint-imports")
    chosen = ["--contract", contract] if contract else []
    return subprocess.run(
        [program, "--config", REPOSITORY / ".importlinter", "--no-cache", "--no-logo", *chosen],
        cwd=directory, env=os.environ | {"PYTHONPATH": str(directory)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_contract_is_kept() -> None:
    done = lint(REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("layers", "model/address.py", "import mailserver.net.files"),
        ("layers", "imap/server.py", "import mailserver.smtp.settings"),
        ("layers", "wire/smtp.py", "import mailserver.mime.headers"),
        ("layers", "unheard_of.py", ""),
        ("plugins", "plugins/accounts.py", "import mailserver.net.files"),
        ("aiosmtpd", "smtp/session.py", "import aiosmtpd.smtp"),
        ("aiohttp", "net/listener.py", "import aiohttp"),
        ("sans-io", "wire/smtp.py", "import asyncio"),
        ("sans-io", "mime/headers.py", "from asyncio import sleep"),
        ("sockets", "imap/session.py", "import socket"),
    ],
)
def test_every_contract_can_be_broken(tmp_path: Path, contract: str, module: str, line: str) -> None:
    shutil.copytree(REPOSITORY / "mailserver", tmp_path / "mailserver", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "mailserver" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(tmp_path, contract)
    assert done.returncode == 1, done.stdout + done.stderr
