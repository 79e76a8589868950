"""Messages for tests: a handful of awkward ones, and any number of ordinary ones from a seed."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CANARY_BODY", "awkward", "fingerprint", "in_maildir", "message_id", "messages"]

#: In the body of every message of `messages`: it must never be seen in a log (ATTACKS N03).
CANARY_BODY = "body-canary-5d1f3b"

_UTF8 = (
    b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc\xc3\x9fe \xe2\x82\xac\r\n"
)
_PARTS = b"""Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b1

prologue
--b1
Content-Type: message/rfc822

Subject: inner

in
--b1
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''%e2%82%ac.bin

AAEC
--b1--
epilogue
""".replace(b"\n", b"\r\n")
_BODIES = [
    b"Subject: plain\r\n\r\nhello\r\n",
    b"Subject: no body\r\n\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
    b"Subject: mbox lines\r\n\r\nFrom me to you\r\n>From quoted\r\n",
    _UTF8,
    b"Subject: latin1 raw \xe9\r\n\r\n\xe9\xff\r\n",
    b"Subject: no final newline\r\n\r\nabc",
    b"Subject: long line\r\n\r\n" + b"x" * 5000 + b"\r\n",
    _PARTS,
    b"Subject: big\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000,
    b"Subject: folded\r\n\tsubject\r\nX-Empty:\r\nX-Odd_name.1: 1\r\n\r\n\r\n\r\nblank lines first\r\n",
]


def awkward() -> list[bytes]:
    """Messages that programs have stumbled over: dots, From lines, 8 bit, no newline at the end, long lines, parts."""
    return [
        b"From: Al <a@b.test>\r\nTo: x@example.test\r\nDate: Fri, 20 Nov 2026 10:00:%02d +0000\r\n"
        b"Message-ID: <awkward-%d@b.test>\r\n" % (number, number) + body
        for number, body in enumerate(_BODIES)
    ]


def messages(count: int, seed: int = 0, size: int = 1000) -> Iterator[bytes]:
    """Ordinary messages of about `size` octets, always the same for one seed."""
    rng = random.Random(seed)
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "grüße", "世界", "naïve", CANARY_BODY]
    for number in range(count):
        lines = [f"From: Sender {number} <s{number}@sender.test>", "To: someone@example.test"]
        lines += [f"Subject: {rng.choice(words[:6])} {number}", f"Message-ID: <m{seed}.{number}@sender.test>"]
        lines += [f"Date: Fri, 20 Nov 2026 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02} +0000"]
        lines += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", ""]
        text = "\r\n".join(lines)
        while len(text) < size:
            text += "\r\n" + " ".join(rng.choice(words) for _ in range(10))
        yield text.encode() + b"\r\n"


def message_id(message: bytes) -> bytes:
    """The Message-ID with its brackets, b"" if there is none."""
    head = message.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    match = re.search(rb"(?im)^message-id:\s*(\S+)", head)
    return match[1] if match else b""


def fingerprint(message: bytes) -> tuple[bytes, str]:
    """Message-ID and a hash of the body; the same for LF and CRLF, for added header fields and newlines at the end."""
    body = message.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    return message_id(message), hashlib.sha256(body.rstrip(b"\n")).hexdigest()[:16]


def in_maildir(path: Path) -> list[tuple[bytes, str]]:
    """The fingerprints of what is in `new` and `cur`, sorted."""
    found = [file for sub in ("new", "cur") if (path / sub).is_dir() for file in (path / sub).iterdir()]
    return sorted(fingerprint(file.read_bytes()) for file in found)
