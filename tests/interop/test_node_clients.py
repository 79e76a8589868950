"""The IMAP libraries that programs in Node use: imapflow (STARTTLS, UTF8=ACCEPT, QRESYNC) and node-imap."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.daemon import PASSWORD, Daemon
from tests.interop.programs import ANNA, needs, run

_SCRIPTS = Path(__file__).with_name("node")
#: Where get-node-clients puts them.
_ROOT = Path(os.environ.get("NODE_CLIENTS_ROOT", Path.home() / ".cache/mailserver/node"))

pytestmark = [
    pytest.mark.interop,
    needs("node"),
    pytest.mark.skipif(not (_ROOT / "node_modules" / "imapflow").exists(), reason="not fetched: get-node-clients"),
]


def play(script: str, daemon: Daemon, home: Path) -> dict[str, Any]:
    """What the script saw."""
    shutil.copy(_SCRIPTS / script, home)
    (home / "node_modules").symlink_to(_ROOT / "node_modules")
    done = run(["node", home / script, str(daemon.ports["imap"]), ANNA, PASSWORD], home, timeout=60)
    assert done.code == 0, done.output[-2000:]
    return dict(json.loads(done.output.splitlines()[-1]))


def test_imapflow(daemon: Daemon, home: Path) -> None:
    seen = play("flow.mjs", daemon, home)
    assert seen["secure"] and {"CONDSTORE", "QRESYNC", "UTF8=ACCEPT"} <= set(seen["enabled"])
    assert {"\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"} <= set(seen["special"])
    assert seen["created"] and seen["exists"] == 3
    assert seen["subjects"] == [
        [f"{name} – ünïcode", name == "two", "text/plain", True] for name in ("one", "two", "three")
    ]
    assert (len(seen["unseen"]), len(seen["header"]), len(seen["body"])) == (2, 1, 1)
    assert seen["flags"] == ["$Work", "\\Flagged"]
    assert seen["downloaded"] == "The text of two.\r\n"
    assert (seen["told"], seen["expunged"], seen["moved"]) == (4, "INBOX", 1)
    assert (seen["status"]["messages"], seen["status"]["unseen"], seen["status"]["uidNext"]) == (1, 1, 2)
    assert seen["deleted"] == "Größe/unter"


def test_node_imap(daemon: Daemon, home: Path) -> None:
    assert play("imap.mjs", daemon, home) == {
        "total": 3, "unseen": 2, "since": 1, "bodies": [True, True, True], "flags": ["\\Flagged", "work"],
        "boxes": ["below"], "left": 1, "told": 1,
    }  # fmt: skip
