"""Broken and strange messages, APPENDed to the real server and to real Dovecot: what FETCH says of each must agree.

`make test` takes those of Python's own tests and generated ones. `make soak` takes the folder that MAILSERVER_CORPUS
names as well: one message in each file, such as the SpamAssassin corpus or notmuch's test messages.

Differences are counted fact by fact; at most one in two hundred may be one of those that
`test_mime_against_dovecot.py` explains. Letters of media types, charsets and encodings have no case (RFC 2045 §5.1).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mailserver.mime.structure import parse
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Closed, Imap
from tests.interop.dovecot import Dovecot, needs_dovecot
from tests.interop.fetched import fold, responses, sections
from tests.interop.odd_mail import collected, generated, header_messages, python_messages, with_crlf
from tests.interop.programs import ANNA

pytestmark = [pytest.mark.interop, needs_dovecot, pytest.mark.timeout(600)]

_OWNER = 65534
_WHOLE = ("RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE")
#: Sections of one message that are asked for: a line of a command has a limit.
_MOST = 30


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    # Its processes give up being root: the directories above must be open to them, which those of tmp_path are not.
    directory = Path(tempfile.mkdtemp(prefix="odd-", dir="/tmp"))
    try:
        mail = directory / "mail"
        mail.mkdir()
        shutil.chown(mail, _OWNER)
        os.chmod(directory, 0o755)
        with Dovecot(directory, mail, _OWNER) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Facts:
    """What one server says, message by message, in a mailbox of its own."""

    def __init__(self, connect: Callable[[], Imap]) -> None:
        self._connect = connect
        self._imap = connect()
        self._imap.ok("CREATE Odd")
        self._imap.ok("SELECT Odd")
        self._count = 0

    def __enter__(self) -> Facts:
        return self

    def __exit__(self, *exc: object) -> None:
        self._imap.close()

    def add(self, message: bytes) -> int | None:
        """Its sequence number, or None if the server does not take it."""
        if self._imap.command("APPEND Odd {}", message).status != "OK":
            return None
        self._count += 1
        return self._count

    def of(self, number: int, items: Sequence[str]) -> dict[str, Any]:
        """Item → value. Empty where the server ends the connection, as Dovecot does over a few header fields."""
        wanted = " ".join(item.replace("BODY[", "BODY.PEEK[") for item in items)
        try:
            lines = self._imap.ok(f"FETCH {number} ({wanted})").only("FETCH")
        except Closed:
            self._imap.close()
            self._imap = self._connect()
            self._imap.ok("SELECT Odd")
            return {}
        return {
            item: value if "[" in item else fold(value)
            for _, facts in responses(b"".join(b"\r\n" + line for line in lines))
            for item, value in facts.items()
        }


def check(daemon: Daemon, dovecot: Dovecot, messages: Sequence[bytes]) -> None:
    """At most one fact in two hundred differs, and our server answers all."""

    def connect() -> Imap:
        imap = Imap(daemon.ports["imap"])
        imap.login(ANNA, PASSWORD)
        return imap

    with Facts(connect) as ours, Facts(dovecot.imap) as theirs:
        count, different = compare(ours, theirs, messages)
    assert len(different) <= count * 0.005, f"{len(different)} of {count}\n" + "\n".join(different[:10])


def compare(ours: Facts, theirs: Facts, messages: Sequence[bytes]) -> tuple[int, list[str]]:
    """How many facts both told, and those that differ."""
    count, different = 0, list[str]()
    for message in map(with_crlf, messages):
        mine, other = ours.add(message), theirs.add(message)
        assert (mine is None) == (other is None), f"only one of us takes {message[:500]!r}"
        if mine is None or other is None:
            continue
        items = [item for item in (*_WHOLE, *sections(message, parse(message))) if "\0" not in item][:_MOST]
        here, there = ours.of(mine, items), theirs.of(other, items)
        assert here.keys() == set(items), f"the server did not answer {set(items) - here.keys()}"
        count += len(there)
        different += [
            f"{item} of {message[:2000]!r}\n  ours   {here[item]}\n  theirs {value}"
            for item, value in there.items()
            if item in here and here[item] != value
        ]
    return count, different


def test_odd_mail_is_read_as_dovecot_reads_it(daemon: Daemon, dovecot: Dovecot) -> None:
    check(daemon, dovecot, [*python_messages(), *header_messages(), *generated(11, 300)])


@pytest.mark.soak
def test_thousands_of_odd_messages(daemon: Daemon, dovecot: Dovecot) -> None:
    check(daemon, dovecot, [*generated(12, 3000), *collected()])
