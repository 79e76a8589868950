"""SORT and THREAD as Dovecot 2.3 answers them, for thousands of odd and of generated messages.

A message that stands elsewhere in the order, or in another place of a thread, is a difference. Known ones, on purpose:

* RFC 5256 §2.2: a Date with a day and a broken time or zone counts here; there INTERNALDATE does.
* RFC 5051 §2: U+01C4 (and its like) is compared as the RFC's own example has it.
* RFC 5255 §4.6: i;unicode-casemap puts what is in no charset last here, and there takes it for U+FFFD, as the usual
  comparator does here; which takes `ß` for `ss`, unlike that one. So each is compared where both mean the same.
* RFC 5322 §3.6: of a field that must not be there twice, SORT takes here what ENVELOPE shows; there the first.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailserver.mime.headers import fields
from tests.helpers.imap_service import ImapHarness
from tests.interop.odd_mail import generated, header_messages, python_messages, with_crlf
from tests.interop.test_mime_against_dovecot import DovecotFacts, dovecot

__all__ = ["dovecot"]

IMAP = Path("/usr/lib/dovecot/imap")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not IMAP.exists(), reason="Dovecot is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot's imap is started as root, and gives that up"),
]

_KEYS = (
    "ARRIVAL", "CC", "DATE", "FROM", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO", "REVERSE SIZE",
    "SUBJECT REVERSE DATE",
)  # fmt: skip
COMMANDS = (
    *(f"SORT ({keys}) UTF-8 ALL" for keys in _KEYS),
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
)


async def _ours(messages: Sequence[bytes], comparator: str) -> list[bytes]:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        for number, message in enumerate(messages):
            await server.deliver(message, date=1_000_000_000 + number)
        await imap.ok("NOOP")
        await imap.ok(f"COMPARATOR {comparator}")
        return [(await imap.ok(command)).untagged[-1] for command in COMMANDS]


def _theirs(dovecot: DovecotFacts, messages: Sequence[bytes]) -> list[bytes]:
    dovecot.put(messages)
    return [line for line in dovecot.talk(COMMANDS).split(b"\r\n") if line.startswith((b"* SORT", b"* THREAD"))]


def differences(ours: bytes, theirs: bytes) -> list[int]:
    """Numbers of messages that stand elsewhere."""
    if not ours.startswith(b"* THREAD"):
        return _moved(ours.split()[2:], theirs.split()[2:])
    above, there = _above(ours), _above(theirs)
    assert above.keys() == there.keys()
    moved = _moved(list(above), list(there))
    return sorted({int(number) for number in above if above[number] != there[number]} | set(moved))


def _above(answer: bytes) -> dict[bytes, bytes]:
    """What stands above each message, in the order of the answer; messages under a dummy stand in one list."""
    found: dict[bytes, bytes] = {}
    stack, above = list[bytes](), b"root"
    for token in re.findall(rb"[()]|\d+", answer):
        if token == b"(":
            stack.append(above)
        elif token == b")":
            above = stack.pop()
        else:
            found[token] = above if len(stack) < 2 or above != b"root" else b"dummy"
            above = token
    return found


def _moved(ours: list[bytes], theirs: list[bytes]) -> list[int]:
    assert sorted(ours) == sorted(theirs)
    if ours == theirs:
        return []
    codes = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    kinds = ("delete", "replace")
    return [int(number) for kind, start, stop, _, _ in codes if kind in kinds for number in ours[start:stop]]


async def compare(
    dovecot: DovecotFacts, messages: Sequence[bytes], comparator: str = "default"
) -> dict[str, list[int]]:
    """The differences of each command, where there are any."""
    messages = [with_crlf(message) for message in messages]
    theirs, ours = await asyncio.to_thread(_theirs, dovecot, messages), await _ours(messages, comparator)
    found = {
        command: differences(mine, other) for command, mine, other in zip(COMMANDS, ours, theirs, strict=True)
    }
    return {command: numbers for command, numbers in found.items() if numbers}


_SUBJECTS = (
    "Re:", "RE :", "fwd:", "Fw: ", "[list]", " [a b] ", "(fwd)", " (FWD) ", "[fwd: ", "]", "hello", "Hello ", "x",
    "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße", "GRÜSSE", "=?iso-8859-1?q?Re=3A_a?=", "\t", "re[2]:", "re", "[", "é",
    "e\u0301", "\ufb01", "日本",
)  # fmt: skip
_DATES = (
    "Thu, 1 Feb 2024 09:00:00 +0000", "1 Feb 2024 10:00 +0200", "Fri, 02 Feb 24 01:00:00 PST", "soon",
    "3 Feb 2024 08:08:08 -0700 (MST)", "Mon, 5 Feb 2024 09:00:00 GMT", "6 Feb 1999 23:59:60 +0000",
    "1 Jan 1980 00:00:00 +1400", "29 Feb 2024 12:00:00 Z",
)  # fmt: skip
_ADDRESSES = (
    "ann@x.test", "Ben <ben@x.test>", '"Carl, C." <carl@y.test>', "=?utf-8?q?D=C3=B6ra?= <dora@z.test>",
    "friends: eve@x.test, fay@x.test;", "<gus@x.test>", '"q q"@x.test', "HANA <Hana@x.test>", "ivo@x.test (Ivo)",
    "undisclosed-recipients:;", "root", "@r.test:jo@x.test", "Ä <ä@x.test>",
)  # fmt: skip
_IDS = ("<{0}@x>",) * 12 + ('<"{0}"@x>', "<{0}>", "< {0} @x >", "{0}@x", "<{0}@X>", "(c <{0}@x>) <{1}@x>")


def conversations(seed: int, count: int) -> list[bytes]:
    """Messages whose Message-IDs are from a third as many numbers: duplicates, circles, parents that are missing."""
    rng = random.Random(seed)

    def message_id() -> str:
        number = rng.randrange(count // 3)
        return rng.choice(_IDS).format(number, number + 1)

    def message() -> bytes:
        lines = [f"Subject: {''.join(rng.choices(_SUBJECTS, k=rng.randrange(5)))}", f"Message-ID: {message_id()}"]
        lines.append(f"References: {' '.join(message_id() for _ in range(rng.randrange(4)))}")
        lines.append(f"In-Reply-To: {message_id()}")
        lines.append(f"Date: {rng.choice(_DATES)}")
        lines += [f"{name}: {', '.join(rng.choices(_ADDRESSES, k=2))}" for name in ("From", "To", "Cc")]
        lines = [line for line in lines if rng.random() < 0.8]
        rng.shuffle(lines)
        return "\r\n".join([*lines, "", "b" * rng.randrange(50), ""]).encode()

    return [message() for _ in range(count)]


@pytest.mark.parametrize("seed", [1, 2])
async def test_conversations(dovecot: DovecotFacts, seed: int) -> None:
    assert await compare(dovecot, conversations(seed, 1_000), "i;unicode-casemap") == {}


async def test_odd_messages(dovecot: DovecotFacts) -> None:
    # Without those that have a field twice, or `Date: 01 Jan 2001 00:01+0000`: the known differences.
    messages = [
        message for message in (*python_messages(), *header_messages(), *generated(7, 500))
        if b"00:01+0000" not in message and not _has_one_twice(message)
    ]  # fmt: skip
    assert len(messages) > 300
    assert await compare(dovecot, messages) == {}


def _has_one_twice(message: bytes) -> bool:
    names = [name for name, _, _ in fields(message) if name in (b"subject", b"date", b"message-id", b"from")]
    return len(names) > len(set(names))


async def test_the_known_differences_are_there(dovecot: DovecotFacts) -> None:
    old = b"Date: 1 Jan 1990 00:00:00 +0000\r\n\r\n"
    # RFC 5256 §2.2: midnight of 1980 here, and 2001 (INTERNALDATE) there.
    assert await compare(dovecot, [old, b"Date: 1 Jan 1980 25:00:00 +0000\r\n\r\n"]) != {}
    assert await compare(dovecot, [b"Subject: b\r\n\r\n", b"Subject: a\r\nSubject: c\r\n\r\n"]) != {}
    # RFC 5051 §2 has this very example: titlecase, then decomposed.
    letter = ["Subject: \u01c4\r\n\r\n".encode(), b"Subject: E\r\n\r\n"]
    assert await compare(dovecot, letter, "i;unicode-casemap") != {}
    no_charset = [b"Subject: \xe9\r\n\r\n", "Subject: \uffff\r\n\r\n".encode()]
    assert await compare(dovecot, no_charset, "i;unicode-casemap") != {} == await compare(dovecot, no_charset)
    sharp = ["Subject: ß\r\n\r\n".encode(), b"Subject: st\r\n\r\n"]
    assert await compare(dovecot, sharp) != {} == await compare(dovecot, sharp, "i;unicode-casemap")
