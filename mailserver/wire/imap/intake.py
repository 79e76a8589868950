"""The input of a connection, and how it gets past what it does not want: overlong lines, refused literals.

`ImapConnection` is this with messages (`streaming.py`) and commands (`connection.py`) on top; the ways from one state
to the other are drawn at its head.
"""

from __future__ import annotations

from mailserver.wire.imap.events import BadCommand, Event
from mailserver.wire.imap.fragments import Fragments, HangUp, LiteralHeader, literal_header
from mailserver.wire.imap.limits import MAX_DISCARD, TAIL, Limits
from mailserver.wire.imap.states import State

__all__ = ["Intake"]


class Intake:
    """What was received and not yet read, the command in hand, and the throwing away.

    Attributes:
        utf8: set it when the client enables UTF8=ACCEPT or IMAP4rev2; mailbox names are UTF-8 from then on.
    """

    __slots__ = ("_at", "_fragments", "_left", "_limits", "_line", "_name", "_state", "_tag", "utf8")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._fragments = Fragments()
        self.utf8 = False
        #: The command in hand: its tag, its name, and where its arguments begin.
        self._tag = self._name = b""
        self._at = 0
        self._reset()

    def _reset(self) -> None:
        """Ready for the next command."""
        self._state = State.COMMAND
        #: Octets of the command's lines.
        self._line = 0
        #: Octets of the literal in hand that are still to come.
        self._left = 0

    def _bad(self, text: str, status: str = "BAD", code: str = "") -> BadCommand:
        """Answer the command in hand; the next line is a command again."""
        self._reset()
        return BadCommand(self._tag or b"*", text, status, code)

    def _line_too_long(self) -> Event:
        bad = self._bad(f"a command has at most {self._limits.line} octets outside literals; name messages as ranges")
        self._state = State.SKIP_LINE
        return bad

    def _check_skippable(self, header: LiteralHeader) -> None:
        if header.size > self._limits.append:
            raise HangUp(f"a literal has at most {self._limits.append} octets")

    def _skip(self, octets: int) -> None:
        """Throw away a literal, and then the rest of its command."""
        self._reset()
        self._left = octets
        self._state = State.SKIP

    def _step_skip(self) -> Event | None:
        self._left -= len(self._fragments.take(self._left))
        if not self._left:
            self._state = State.SKIP_LINE
        return None

    def _step_skip_line(self) -> Event | None:
        gone, tail = self._fragments.discard_line(TAIL)
        self._line += gone
        if self._line > MAX_DISCARD:
            raise HangUp("the line does not end")
        if tail is None:
            return None
        header = literal_header(tail)
        if header is None or header.synchronizing:
            # A client that waits has had its answer, and sends no literal after it.
            self._reset()
        else:
            self._check_skippable(header)
            self._left = header.size
            self._state = State.SKIP
        return None
