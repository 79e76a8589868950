"""Frames of the admin socket: four octets of length (big-endian) and that many octets of UTF-8 JSON.

A connection carries one request and one answer:

    → {"command": "account.add", "arguments": {…}, "body": 1234}      then exactly `body` octets
    ← {"ok": true, "result": …}   or   {"ok": false, "error": "words for the operator"}
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = [
    "LENGTH_SIZE",
    "MAX_ANSWER",
    "MAX_REQUEST",
    "Request",
    "decode_answer",
    "decode_request",
    "encode",
    "frame_length",
]

MAX_REQUEST = 1 << 20
MAX_ANSWER = 64 << 20
LENGTH_SIZE = 4

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command asks of the server. `body` counts the octets that follow; arguments may hold a password."""

    command: str
    arguments: Mapping[str, Any]
    body: int = 0

    def __repr__(self) -> str:
        return f"Request({self.command!r}, body={self.body})"


def encode(value: Any, limit: int) -> bytes:
    """A frame. Raises ValueError: longer than `limit`."""
    octets = orjson.dumps(value)
    if len(octets) > limit:
        raise ValueError(f"more than {limit >> 20} MiB in one message of the admin socket")
    return _LENGTH.pack(len(octets)) + octets


def frame_length(head: bytes, limit: int) -> int:
    """The length that the first four octets give. Raises ValueError: longer than `limit`."""
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise ValueError(f"more than {limit >> 20} MiB in one message of the admin socket")
    return int(length)


def decode_request(octets: bytes) -> Request:
    """A frame's content as a request. Raises ValueError."""
    value = orjson.loads(octets)
    if not isinstance(value, dict):
        raise ValueError("a request is an object")
    command, arguments, size = value.get("command"), value.get("arguments", {}), value.get("body", 0)
    if not isinstance(command, str) or not isinstance(arguments, dict) or type(size) is not int or size < 0:
        raise ValueError("a request has a command, arguments and the size of its body")
    return Request(command=command, arguments=arguments, body=size)


def decode_answer(octets: bytes) -> tuple[bool, Any]:
    """A frame's content as an answer: whether it is good, and the result or the error's words. Raises ValueError."""
    value = orjson.loads(octets)
    if not isinstance(value, dict) or not isinstance(value.get("ok"), bool):
        raise ValueError("an answer is an object that says whether it is good")
    return value["ok"], value.get("result") if value["ok"] else str(value.get("error", ""))
