"""The milter protocol, version 6, from the side of the mail server, as libmilter 8.14 and later speak it.

A packet is a length (32 bits, of what follows), one octet that says what it is, and its data. Nothing that a filter
sends raises: what cannot be understood becomes `Malformed`, after which the connection is of no more use. There is no
RFC; the facts are those of Sendmail's `mfdef.h`, and of what its and Postfix's servers do.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag

from mailserver.model.reply import Reply

__all__ = [
    "CHUNK", "STAGES", "Action", "Answer", "Decoder", "Edit", "Malformed", "Negotiated", "Packet", "Step", "body",
    "command", "connect", "header", "macros", "negotiate", "negotiated", "reply_of",
]  # fmt: skip

_VERSION = 6
_OLDEST = 2
#: Octets of a body chunk, and of the data of any packet, that a filter takes.
CHUNK = 65535
#: Octets of a packet that we take.
MAX_PACKET = 1 << 20
_NUMBER = struct.Struct(">I")
_HEAD = struct.Struct(">III")


class Action(IntFlag):
    """What a filter may do to a message (SMFIF)."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENT = 0x04
    DELETE_RECIPIENT = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_SENDER = 0x40
    ADD_RECIPIENT_ARGUMENTS = 0x80
    CHOOSE_MACROS = 0x100


class Step(IntFlag):
    """What of the protocol a filter does without (SMFIP): NO…, the step itself, SILENT…, an answer to it."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADER = 0x40
    SILENT_HEADERS = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    REFUSED_RECIPIENTS = 0x800
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADER = 0x40000
    SILENT_BODY = 0x80000
    LEADING_SPACE = 0x100000


#: The stages in the order of their numbers, by the command that each begins with.
STAGES = "CHMRTEN"
_FINAL = {b"a": "accept", b"c": "continue", b"d": "discard", b"r": "reject", b"t": "tempfail", b"s": "skip",
          b"f": "tempfail", b"4": "shutdown", b"y": "reply"}  # fmt: skip
_EDITS = {b"h": "add", b"i": "insert", b"m": "change", b"b": "body", b"q": "quarantine", b"+": "add recipient",
          b"-": "delete recipient", b"2": "add recipient", b"e": "change sender"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a filter that is neither an answer nor an edit: `kind` is its octet."""

    kind: bytes
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a filter says to a step: `accept`, `continue`, `discard`, `reject`, `tempfail`, `skip`, `shutdown`, or
    `reply` with words of its own, which are "" otherwise."""

    kind: str
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Edit:
    """What a filter does to a message after its end: `add`, `insert`, `change`, `body`, `quarantine`; others by name.

    `index` is where a field is inserted, or the occurrence that changes. Of `body` and `quarantine` there is a `value`.
    """

    kind: str
    name: bytes = b""
    value: bytes = b""
    index: int = 0


@dataclass(frozen=True, slots=True)
class Malformed:
    """What came is not of this protocol, and why not."""

    text: str


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on. `macros`: names for a stage (its command), where the filter chose them."""

    version: int
    actions: Action
    steps: Step
    macros: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Decoder:
    """Octets of a filter in, what they mean out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._bad = False

    def feed(self, octets: bytes) -> list[Packet | Answer | Edit | Malformed]:
        """All that is complete by now; after a Malformed nothing more."""
        found: list[Packet | Answer | Edit | Malformed] = []
        self._buffer += octets
        at = 0
        while not self._bad and len(self._buffer) - at >= 4:
            (length,) = _NUMBER.unpack_from(self._buffer, at)
            if not 1 <= length <= MAX_PACKET:
                found.append(Malformed(f"a packet of {length} octets"))
                self._bad = True
                break
            if len(self._buffer) - at - 4 < length:
                break
            data = bytes(self._buffer[at + 4 : at + 4 + length])
            at += 4 + length
            meaning = _meaning(data[:1], data[1:])
            found.append(meaning)
            self._bad = isinstance(meaning, Malformed)
        del self._buffer[:at]
        if self._bad:
            self._buffer.clear()
        return found


def _meaning(kind: bytes, data: bytes) -> Packet | Answer | Edit | Malformed:
    if kind in _FINAL:
        return Answer(_FINAL[kind], data.partition(b"\0")[0] if kind == b"y" else b"")
    if kind in _EDITS:
        return _edit(_EDITS[kind], data)
    if kind in (b"O", b"p"):
        return Packet(kind, data)
    return Malformed(f"a packet of an unknown kind, {kind!r}")


def _edit(kind: str, data: bytes) -> Edit | Malformed:
    if kind == "body":
        return Edit(kind, value=data)
    if kind == "quarantine":
        return Edit(kind, value=data.partition(b"\0")[0])
    if kind not in ("add", "insert", "change"):
        return Edit(kind)
    index = 0
    if kind != "add":
        if len(data) < 4:
            return Malformed("a change of the header without its place")
        (index,) = _NUMBER.unpack_from(data)
        data = data[4:]
    name, mark, rest = data.partition(b"\0")
    if not mark:
        return Malformed("a change of the header without a value")
    return Edit(kind, name, rest.partition(b"\0")[0], index)


def _packet(kind: bytes, data: bytes = b"") -> bytes:
    return _NUMBER.pack(len(data) + 1) + kind + data


def negotiate(actions: Action, steps: Step) -> bytes:
    """What we offer."""
    return _packet(b"O", _HEAD.pack(_VERSION, actions, steps))


def negotiated(data: bytes, actions: Action, steps: Step) -> Negotiated | Malformed:
    """The data of the filter's answer to what we offered. What it may do is what we offered, whatever it says."""
    if len(data) < _HEAD.size:
        return Malformed("a negotiation that is too short")
    version, wanted, without = _HEAD.unpack_from(data)
    if not _OLDEST <= version <= _VERSION:
        return Malformed(f"version {version} of the protocol")
    unknown = without & ~int(steps)
    if unknown:
        return Malformed(f"it wants steps of the protocol that were not offered ({unknown:#x})")
    macros: dict[str, tuple[str, ...]] = {}
    at = _HEAD.size
    while len(data) - at > 4 and actions & Action.CHOOSE_MACROS:
        (stage,) = _NUMBER.unpack_from(data, at)
        names, _, _ = data[at + 4 :].partition(b"\0")
        at += 5 + len(names)
        if stage < len(STAGES):
            macros[STAGES[stage]] = tuple(_name(one) for one in names.decode("ascii", "replace").split())
    return Negotiated(version, Action(wanted & actions), Step(without), macros)


def _name(macro: str) -> str:
    """`{i}` and `i` are the same macro."""
    bare = macro.strip("{}")
    return bare if len(bare) == 1 else "{" + bare + "}"


def macros(stage: str, values: Mapping[str, str]) -> bytes:
    """Values for the names of a stage, which stay until they get others; goes before the step's command."""
    data = stage.encode("ascii")
    for name, value in values.items():
        pair = _text(name) + _text(value)
        if len(data) + len(pair) <= CHUNK:
            data += pair
    return _packet(b"D", data)


def connect(name: str, peer: str, port: int) -> bytes:
    """Who the client is: its name ("[192.0.2.1]" for one without), and its address, if that is one of IP."""
    try:
        family = b"4" if ipaddress.ip_address(peer).version == 4 else b"6"
    except ValueError:
        return _packet(b"C", _text(name) + b"U")
    return _packet(b"C", _text(name) + family + struct.pack(">H", port & 0xFFFF) + _text(peer))


def command(kind: str, *arguments: str) -> bytes:
    """A step that is told with words: H (HELO), M and R (an address in <> and its parameters), or with none."""
    return _packet(kind.encode("ascii"), b"".join(_text(argument) for argument in arguments)[: CHUNK - 1])


def header(name: bytes, value: bytes, *, leading_space: bool) -> bytes:
    """One field; `value` is what stands behind the colon, with its folds, without its last line end."""
    value = value.replace(b"\r\n", b"\n").replace(b"\0", b"")
    if not leading_space:
        value = value.lstrip(b" \t")
    name = name[:1024]
    return _packet(b"L", name + b"\0" + value[: CHUNK - len(name) - 3] + b"\0")


def body(chunk: bytes) -> bytes:
    """A piece of the body, at most CHUNK octets."""
    return _packet(b"B", chunk)


def reply_of(text: bytes) -> Reply | None:
    """The reply that a filter wants given; None if that is no refusal."""
    lines = text.decode("utf-8", "replace").replace("\r", "").split("\n")
    code, status, words = 0, "", []
    for line in lines:
        if not line:
            continue
        if len(line) < 3 or line[:3] not in _CODES:
            return None
        code = int(line[:3])
        mark, rest = _status(line[4:], line[0])
        status = status or mark
        # A format of Sendmail's, in which the sign stands twice for itself.
        words.append(rest.replace("%%", "%"))
    reply = Reply(code, status, "\n".join(words[:32]) or "Refused by a filter")
    return reply if reply.refuses() else None


_CODES: Sequence[str] = [str(code) for code in (*range(400, 500), *range(500, 600))]


def _status(words: str, kind: str) -> tuple[str, str]:
    """An enhanced status code of this kind at the beginning, and the rest."""
    first, _, rest = words.partition(" ")
    parts = first.split(".")
    good = len(parts) == 3 and parts[0] == kind and all(p.isascii() and p.isdigit() and len(p) <= 3 for p in parts)
    return (first, rest) if good else ("", words)


def _text(words: str) -> bytes:
    return words.replace("\0", "").encode("utf-8", "replace") + b"\0"
