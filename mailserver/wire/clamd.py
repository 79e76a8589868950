"""The part of clamd's protocol (clamd(8)) that hands a message over: INSTREAM and its answer."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

__all__ = ["END", "INSTREAM", "MAX_ANSWER", "ScanAnswer", "chunk", "scan_answer"]

INSTREAM = b"zINSTREAM\0"
END = b"\0\0\0\0"
#: Octets of an answer, its NUL included.
MAX_ANSWER = 4096
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class ScanAnswer:
    """`found` with the signature's name in `text`, `clean`, `too_large`, or `error` with clamd's words."""

    kind: Literal["clean", "found", "too_large", "error"]
    text: str = ""


def chunk(octets: bytes) -> bytes:
    """A piece of the message, not empty: that would be the end."""
    return _LENGTH.pack(len(octets)) + octets


def scan_answer(line: bytes) -> ScanAnswer:
    """What clamd said, without the NUL. Anything that is not understood is an error, and never clean."""
    words = "".join(c if c.isprintable() else "?" for c in line.decode("utf-8", "replace"))[:300].strip()
    if words == "stream: OK":
        return ScanAnswer("clean")
    if words.startswith("stream: ") and words.endswith(" FOUND"):
        return ScanAnswer("found", words.removeprefix("stream: ").removesuffix(" FOUND"))
    if words.startswith("INSTREAM size limit exceeded"):
        return ScanAnswer("too_large")
    return ScanAnswer("error", words or "nothing")
