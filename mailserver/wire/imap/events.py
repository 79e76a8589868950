"""What `ImapConnection.next_event` gives.

    CommandReceived      a whole command; run it, answer with its tag
    BadCommand           answer `tag STATUS [code] text`; the connection is ready for the next command
    ContinuationNeeded   a small literal waits: send `+ text`
    AppendStarted        a message literal waits: `accept_literal` or `refuse_literal`; then
      LiteralChunk         its octets, in order; `last` with the final ones
      AppendContinued      MULTIAPPEND: one more message, again accept or refuse
      CatenateUrl, CatenateText (accept or refuse, LiteralChunks), CatenateEnd: a message that is put together
      AppendFinished       the command ended well: commit, answer. A BadCommand in its place means: throw it all away
    IdleDone             DONE after `await_done`
    SaslResponse         an answer after `await_sasl`
    ProtocolClosed       with a text: send `* BYE text` and close; without: the peer has closed

A plugin's command arrives as CommandReceived too, with the value that its parser made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mailserver.wire.imap.sequence_set import SequenceSet

__all__ = [
    "AppendContinued", "AppendFinished", "AppendMessage", "AppendStarted", "BadCommand", "CatenateEnd", "CatenateText",
    "CatenateUrl", "CommandReceived",
    "ContinuationNeeded", "Event", "IdleDone", "LiteralChunk", "ProtocolClosed", "SaslResponse",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """`name` is the command's name in capitals as `parse.PARSERS` knows it: `UID FETCH`; `command` is its value."""

    tag: bytes
    name: str
    command: object


@dataclass(frozen=True, slots=True)
class BadCommand:
    """A command that cannot be run. `tag` is b"*" when the client gave none; `status` is BAD or NO.

    `code` stands without brackets (`TOOBIG`) and may be empty. The text is safe to send.
    """

    tag: bytes
    text: str
    status: str = "BAD"
    code: str = ""


@dataclass(frozen=True, slots=True)
class ContinuationNeeded:
    """Send a continuation; the client waits with a literal that will be held (not an APPEND message)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendMessage:
    """What APPEND says about one message, before its octets.

    `date` is in epoch seconds, None for now. `size` is at least 1 and within the connection's limit. `binary` is True
    for literal8 (`~{n}`): NUL is allowed then. `utf8` is True for the UTF8 (…) form of RFC 6855 §4. With `catenate`
    (RFC 4469) there is no literal yet (`size` 0): once accepted, its parts come, and CatenateEnd.
    """

    flags: frozenset[str] = frozenset()
    date: int | None = None
    size: int
    binary: bool = False
    utf8: bool = False
    synchronizing: bool = True
    catenate: bool = False


@dataclass(frozen=True, slots=True)
class AppendStarted:
    """APPEND with its first message; or REPLACE (RFC 8508), which has one only, and names the message that goes.

    `command` is the command's name in capitals, as in CommandReceived. `replaces` holds one sequence number, or one
    UID when `uid` is set.
    """

    tag: bytes
    mailbox: str
    message: AppendMessage
    command: str = "APPEND"
    replaces: SequenceSet | None = None
    uid: bool = False


@dataclass(frozen=True, slots=True)
class AppendContinued:
    """A further message of the same APPEND (RFC 3502)."""

    message: AppendMessage


@dataclass(frozen=True, slots=True)
class CatenateUrl:
    """A part that is in a message already; the URL as the client wrote it."""

    url: str


@dataclass(frozen=True, slots=True)
class CatenateText:
    """A part that comes now; its message is accepted or refused as that of APPEND."""

    message: AppendMessage


@dataclass(frozen=True, slots=True)
class CatenateEnd:
    """The message has all its parts."""


@dataclass(frozen=True, slots=True)
class LiteralChunk:
    """Octets of the message, never empty."""

    data: bytes = field(repr=False)
    last: bool


@dataclass(frozen=True, slots=True)
class AppendFinished:
    """The whole APPEND was read."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class IdleDone:
    """The client ended IDLE."""


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """The client's answer, decoded; None when it cancelled with `*` (RFC 9051 §6.2.2)."""

    data: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProtocolClosed:
    """Nothing more will come. An empty text: the peer closed; otherwise our words for `* BYE`."""

    text: str


Event = (
    CommandReceived | BadCommand | ContinuationNeeded | AppendStarted | AppendContinued | LiteralChunk | AppendFinished
    | CatenateUrl | CatenateText | CatenateEnd | IdleDone | SaslResponse | ProtocolClosed
)
