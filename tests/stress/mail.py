"""The messages of the stress test: each is known by a number, and every line of it says so."""

from __future__ import annotations

import random
import re

from tests.stress.responses import Fault

__all__ = ["content", "name_in", "name_of"]

_ID = re.compile(rb"(?im)^message-id: <([0-9]+)@stress\.test>\r?$")


def content(name: int) -> bytes:
    """The message of a number, always the same; sizes from some hundred octets to some ten thousand."""
    rng = random.Random(name)
    lines = rng.choice((1, 3, 10, 40, 400))
    head = (
        f"From: Sender {name} <s{name}@sender.test>\r\nTo: anna@example.test\r\nSubject: stress {name}\r\n"
        f"Message-ID: <{name}@stress.test>\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\n"
    )
    body = "".join(f"{name}-{line} of token{name}x {'x' * rng.randrange(60)}\r\n" for line in range(lines))
    return (head + body).encode()


def name_in(header: bytes) -> int:
    """The number in a header block or file. Raises Fault."""
    found = _ID.findall(header)
    if len(found) != 1:
        raise Fault(f"not one Message-ID of ours: {header[:300]!r}")
    return int(found[0])


def name_of(message: bytes, *, exact: bool = False) -> int:
    """The number of a whole message, of which every octet is compared. SMTP puts trace fields before it."""
    name = name_in(message)
    expected = content(name)
    if message != expected if exact else not message.endswith(expected):
        raise Fault(f"message {name} is not itself: {message[:500]!r} … {message[-100:]!r}")
    return name
