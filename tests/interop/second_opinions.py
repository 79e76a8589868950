"""What other programs think of signed messages: dkimpy and opendkim from Debian, mailauth from npm."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.interop.programs import run

__all__ = ["dkimpy", "mailauth", "mailauth_there", "opendkim"]

PYTHON = "/usr/bin/python3"
#: Where get-node-clients puts its packages.
NODE_ROOT = Path(os.environ.get("NODE_CLIENTS_ROOT", Path.home() / ".cache/mailserver/node"))

_DKIMPY = """
import base64, json, sys
try:
    import dkim
except ImportError:
    sys.exit("no dkimpy")
given = json.load(sys.stdin)
records = {name + ".": text.encode() for name, text in given["records"].items()}
def look(name, timeout=5):
    return records.get(name.decode() if isinstance(name, bytes) else name)
def verify(text):
    try:
        return bool(dkim.DKIM(base64.b64decode(text), minkey=1024).verify(dnsfunc=look))
    except dkim.UnknownKeyTypeError:
        return None
    except Exception:
        return False
def validate(text):
    try:
        cv, _, _ = dkim.ARC(base64.b64decode(text), minkey=1024).verify(dnsfunc=look)
        return (cv or b"none").decode()
    except Exception:
        return "fail"
print(json.dumps([[verify(text), validate(text)] for text in given["messages"]]))
"""
_TOLD = re.compile(r"^opendkim: \S*?(\d+)\.eml: (.*)$", re.MULTILINE)
_AT_ONCE = 250


def dkimpy(home: Path, records: Mapping[str, str], messages: Sequence[bytes]) -> list[tuple[bool | None, str]] | None:
    """For each message whether its first signature is good (None: it does not know the algorithm), and the result of
    its chain of ARC. None: it is not installed."""
    done = run([PYTHON, "-c", _DKIMPY], home, stdin=_given(records, messages), timeout=1000)
    if "no dkimpy" in done.output:
        return None
    assert done.code == 0, done.output[-2000:]
    return [(good, arc) for good, arc in json.loads(done.output.splitlines()[-1])]


def opendkim(home: Path, records: Mapping[str, str], messages: Sequence[bytes]) -> list[bool]:
    """For each message, which has one signature, whether it is good."""
    keys, config = home / "keys", home / "opendkim.conf"
    keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
    config.write_text(f"TestPublicKeys {keys}\nMode v\nOn-SignatureError accept\nMinimumKeyBits 1024\n")
    told: dict[str, str] = {}
    for start in range(0, len(messages), _AT_ONCE):
        paths = []
        for number, message in enumerate(messages[start : start + _AT_ONCE], start):
            path = home / f"{number}.eml"
            path.write_bytes(message)
            paths.append(str(path))
        # What it says besides goes to standard error, and would end up in the middle of lines.
        done = run(["sh", "-c", 'opendkim -x "$0" -v -t "$1" 2>/dev/null', config, ",".join(paths)], home)
        for name, words in _TOLD.findall(done.output):
            told[name] = told.get(name, "") + words
        for each in paths:
            Path(each).unlink()
    return ["succeeded" in told.get(str(number), "") for number in range(len(messages))]


def mailauth_there() -> bool:
    """Was it fetched?"""
    return shutil.which("node") is not None and (NODE_ROOT / "node_modules" / "mailauth").exists()


def mailauth(home: Path, records: Mapping[str, str], messages: Sequence[bytes]) -> list[dict[str, Any]]:
    """For each message {"dkim": {header.b: result}, "arc": result}."""
    script = home / "opinions.mjs"
    shutil.copy(Path(__file__).parent / "node" / "opinions.mjs", script)
    (home / "node_modules").symlink_to(NODE_ROOT / "node_modules")
    done = run(["node", script], home, stdin=_given(records, messages), timeout=1000)
    assert done.code == 0, done.output[-2000:]
    return list(json.loads(done.output.splitlines()[-1]))


def _given(records: Mapping[str, str], messages: Sequence[bytes]) -> bytes:
    texts = [base64.b64encode(message).decode() for message in messages]
    return json.dumps({"records": records, "messages": texts}).encode()
