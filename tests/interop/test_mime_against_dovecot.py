"""ENVELOPE, BODY, BODYSTRUCTURE, sizes and sections as Dovecot 2.3 gives them, fact by fact.

Known differences, all of them on purpose:

* A Content-Type that has no type and subtype is text/plain here (RFC 2045 §5.2); Dovecot shows `"" ""`.
* A parameter without a name ends Dovecot's parameters; here the next one is read.
* White space around the dots of an address is passed over here (RFC 5322 §4.4), and makes it unreadable there.
* Of two Content-Disposition fields the first counts; there the second, if the first has no parameters.
* A NUL ends a header field there; here it becomes 0x80 where IMAP cannot carry it.
* In lists of addresses that are none (an open quote, a comment that does not end) the rest may be read differently.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mailserver.mime.render import render
from mailserver.mime.structure import parse
from mailserver.model.mailbox import Rendered
from tests.interop.fetched import parse_list, responses, sections
from tests.interop.odd_mail import generated, header_messages, python_messages, with_crlf

IMAP = Path("/usr/lib/dovecot/imap")
AS_USER = "nobody"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not IMAP.exists(), reason="Dovecot is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot's imap is started as root, and gives that up"),
]


class DovecotFacts:
    """Dovecot's imap process, logged in already, on a Maildir of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._maildir = directory / "Maildir"
        (directory / "dovecot.conf").write_text(
            f"""base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
mail_location = maildir:{self._maildir}
mail_uid = {AS_USER}
mail_gid = {pwd.getpwnam(AS_USER).pw_gid}
first_valid_uid = 1
mail_home = {directory}
ssl = no
"""
        )

    def put(self, messages: Sequence[bytes]) -> None:
        """Make these the only messages, in this order."""
        shutil.rmtree(self._maildir, ignore_errors=True)
        for name in ("cur", "new", "tmp"):
            (self._maildir / name).mkdir(parents=True)
        for number, message in enumerate(messages):
            path = self._maildir / "cur" / f"{1_000_000_000 + number}.M{number:06}P1.x:2,S"
            path.write_bytes(message)
            os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
        shutil.chown(self._directory, AS_USER)
        for path in self._maildir.rglob("*"):
            shutil.chown(path, AS_USER)
        shutil.chown(self._maildir, AS_USER)

    def talk(self, commands: Sequence[str]) -> bytes:
        """All that is answered to these commands, with INBOX selected."""
        lines = [f"f{number} {command}".encode() for number, command in enumerate(commands)]
        return subprocess.run(
            [IMAP, "-c", self._directory / "dovecot.conf"],
            input=b"\r\n".join([b"a SELECT INBOX", *lines, b"z LOGOUT", b""]),
            capture_output=True,
            env={"USER": AS_USER, "HOME": str(self._directory)},
            timeout=100,
            check=False,
        ).stdout

    def fetch(self, wanted: dict[int, str]) -> dict[int, dict[str, Any]]:
        """Message number → item → value. A number that Dovecot does not answer is missing."""
        out = self.talk([f"FETCH {number} ({items})" for number, items in wanted.items()])
        return dict(responses(out))


@pytest.fixture
def dovecot() -> Iterator[DovecotFacts]:
    # Dovecot gives up being root: the directories above must be open to it, which those of tmp_path are not.
    with tempfile.TemporaryDirectory(prefix="mime-", dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        yield DovecotFacts(Path(directory))


def rendered_facts(message: bytes) -> dict[str, Any]:
    pieces = render(message)
    facts: dict[str, Any] = {"RFC822.SIZE": str(len(message))}
    for piece in (Rendered.ENVELOPE, Rendered.BODY, Rendered.BODYSTRUCTURE):
        facts[piece.value.upper()], end = parse_list(pieces[piece], 0)
        assert end == len(pieces[piece])
    return facts


def compare(dovecot: DovecotFacts, messages: Sequence[bytes], *, with_sections: bool = False) -> list[str]:
    """The facts that differ: at most one in two hundred."""
    messages = [with_crlf(message) for message in messages]
    ours = {number: rendered_facts(message) for number, message in enumerate(messages, 1)}
    if with_sections:
        for number, message in enumerate(messages, 1):
            ours[number] = dict(sections(message, parse(message)))
    dovecot.put(messages)
    wanted = {
        number: " ".join(item.replace("BODY[", "BODY.PEEK[") for item in facts if "\0" not in item)
        for number, facts in ours.items()
    }
    theirs = dovecot.fetch(wanted)
    different, count = [], 0
    for number, facts in ours.items():
        for item, value in facts.items():
            if number in theirs and item in theirs[number]:
                count += 1
                if theirs[number][item] != value:
                    message = messages[number - 1]
                    different.append(f"{item} of {message!r}\n  ours   {value}\n  theirs {theirs[number][item]}")
    assert count > 0.98 * sum(map(len, ours.values())), "Dovecot did not answer"
    assert len(different) <= count * 0.005, f"{len(different)} of {count}\n" + "\n".join(different[:5])
    return different


@pytest.mark.skipif(not python_messages(), reason="this Python comes without its test data")
def test_messages_of_pythons_own_tests(dovecot: DovecotFacts) -> None:
    # One has `Content-Type: text`: the first of the known differences.
    chosen = [message for message in python_messages() if b"Content-Type: text;" not in message]
    assert compare(dovecot, chosen) == []
    assert compare(dovecot, chosen, with_sections=True) == []


def test_header_fields(dovecot: DovecotFacts) -> None:
    assert compare(dovecot, header_messages()) == []


@pytest.mark.parametrize("seed", range(3))
def test_generated_structures(dovecot: DovecotFacts, seed: int) -> None:
    compare(dovecot, generated(seed, 300))


@pytest.mark.parametrize("seed", range(3, 5))
def test_sections_of_generated_structures(dovecot: DovecotFacts, seed: int) -> None:
    compare(dovecot, generated(seed, 150), with_sections=True)
