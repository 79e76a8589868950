"""One message for some recipients, from MAIL to the reply to its end: what is sent when, and what the replies mean.

    octets()       what to write now
    receive(reply) the next reply; replies belong to commands strictly in their order (RFC 2920 §3.1)
    due            the message itself is to be written: after 354, or behind a BDAT command that octets() gave
    done           no reply is awaited any more; `answer(i)` is what became of recipient i

With PIPELINING the group is MAIL, every RCPT and DATA; with CHUNKING too and `together`, BDAT LAST and the message go
in the same write, and the whole transaction is one round trip. Without PIPELINING each command waits for its reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum

from mailserver.wire.smtp_client.features import Features
from mailserver.wire.smtp_client.replies import BadReply, RemoteReply

__all__ = ["Stage", "Transaction"]

#: RFC 5321 §3.8: the server closes the connection, whatever it was asked.
_CLOSING = 421
_GO_AHEAD = 354


class Stage(Enum):
    """Where a dialogue is: which reply is awaited. The values are the words of the log."""

    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    END = "end of content"
    QUIT = "QUIT"


class Transaction:
    """`mail` and `recipients` are commands with their CRLF; `size` is the message's, in octets."""

    def __init__(
        self, mail: bytes, recipients: Sequence[bytes], features: Features, size: int, *, together: bool = False,
        reset: bool = False,
    ) -> None:  # fmt: skip
        self._pipelining = features.pipelining
        self.chunking = features.chunking
        #: The message is written right behind the first group, before any reply. Never behind RSET: where that is
        #: refused nobody knows to which transaction the message would belong.
        self.together = together and not reset and features.pipelining and features.chunking
        self._size = size
        self._unsent: deque[tuple[Stage, bytes]] = deque()
        if reset:
            self._unsent.append((Stage.RSET, b"RSET\r\n"))
        self._unsent.append((Stage.MAIL, mail))
        self._unsent.extend((Stage.RCPT, command) for command in recipients)
        if self.together:
            self._unsent.append((Stage.END, b"BDAT %d LAST\r\n" % size))
        elif self._pipelining and not self.chunking:
            self._unsent.append((Stage.DATA, b"DATA\r\n"))
        self._awaited: deque[Stage] = deque()
        self._mail: RemoteReply | None = None
        self._rcpt: list[RemoteReply] = []
        self._count = len(recipients)
        self._end: tuple[Stage, RemoteReply] | None = None
        #: A server that says goodbye, or refuses RSET, hears nothing more.
        self.closing: RemoteReply | None = None
        #: Indexes of the recipients that were accepted so far.
        self.accepted: list[int] = []
        self.due = False
        self._content_sent = False
        self.done = False

    @property
    def stage(self) -> Stage:
        """What is awaited, or what is next."""
        if self._awaited:
            return self._awaited[0]
        if self.due:
            return Stage.CONTENT
        return self._unsent[0][0] if self._unsent else Stage.END

    @property
    def clean(self) -> bool:
        """The server is where it was before MAIL; otherwise RSET goes first (RFC 5321 §4.1.1.5, RFC 3030 §2)."""
        return self._end is not None and self._end[0] is Stage.END and self._end[1].positive

    @property
    def heard(self) -> bool:
        """MAIL was answered: from here on the server speaks for its domain."""
        return self._mail is not None

    @property
    def torn(self) -> bool:
        """The server spoke before the message was whole: it and we do not mean the same place any more."""
        return self._end is not None and self._end[0] is Stage.CONTENT

    @property
    def ended(self) -> bool:
        """The end of the message was written: the server may have it, whatever is heard afterwards."""
        return self._content_sent

    def octets(self) -> bytes:
        """What is to be written now; b"" while replies are awaited, when `due`, and when `done`."""
        if not self._unsent or (self._awaited and not self._pipelining):
            return b""
        if not self._pipelining:
            stage, command = self._unsent.popleft()
            self._awaited.append(stage)
            return command
        out = b"".join(command for _, command in self._unsent)
        self._awaited.extend(stage for stage, _ in self._unsent)
        self._unsent.clear()
        if self.together:
            self.due = True
        return out

    def content_ends(self) -> None:
        """The last octets of the message are about to be written."""
        self.due = False
        self._content_sent = True
        if not self.together and not (self._awaited and self._awaited[-1] is Stage.END):
            self._awaited.append(Stage.END)

    def receive(self, reply: RemoteReply) -> None:
        """Take the next reply. Raises BadReply: nothing was asked, or this is no answer to it."""
        if reply.code == _CLOSING or (self._awaits(Stage.RSET) and not reply.positive):
            self.closing = reply
            self.due = False
            self.done = True
            return
        if not self._awaited:
            self._unasked(reply)
            return
        stage = self._awaited.popleft()
        if stage is Stage.MAIL:
            self._mail = reply
            if not reply.positive and not self._pipelining:
                self._unsent.clear()
        elif stage is Stage.RCPT:
            if reply.positive:
                self.accepted.append(len(self._rcpt))
            self._rcpt.append(reply)
        elif stage is Stage.DATA:
            self._data(reply)
        elif stage is Stage.END and self._end is None:
            self._end = Stage.END, reply
        if not self._awaited and not self._unsent and not self.due:
            self._next()

    def _awaits(self, stage: Stage) -> bool:
        return bool(self._awaited) and self._awaited[0] is stage

    def _unasked(self, reply: RemoteReply) -> None:
        """A refusal while the message is still being written is its end; anything else is nonsense."""
        if not self.due or reply.code < 400:
            raise BadReply("it sends replies that nobody asked for")
        self._end = Stage.CONTENT, reply
        self.due = False
        self.done = True

    def _data(self, reply: RemoteReply) -> None:
        if reply.code != _GO_AHEAD:
            if reply.code < 400:
                raise BadReply(f"it answers DATA with {reply.code}")
            self._end = Stage.DATA, reply
        elif self.accepted:
            self.due = True
        else:
            # RFC 2920 §3.1: it wants a message for nobody; a lone dot makes an empty one.
            self._end = Stage.DATA, reply
            self._unsent.append((Stage.END, b".\r\n"))

    def _next(self) -> None:
        """All replies are in, and nothing is left to send: the message, or the end."""
        if self._end is not None or self.together or not self.accepted:
            self.done = True
        elif self.chunking:
            self.due = True
        else:
            self._unsent.append((Stage.DATA, b"DATA\r\n"))

    def chunk_header(self) -> bytes:
        """What precedes the message when it is `due`: BDAT, unless it was sent already or DATA was."""
        if self.together or not self.chunking:
            return b""
        return b"BDAT %d LAST\r\n" % self._size

    def answer(self, index: int) -> tuple[Stage, RemoteReply] | None:
        """The reply that decides about a recipient, and to what it was; None: there was none."""
        if self._mail is not None and not self._mail.positive:
            return Stage.MAIL, self._mail
        if index < len(self._rcpt) and not self._rcpt[index].positive:
            return Stage.RCPT, self._rcpt[index]
        if self._end is not None:
            return self._end
        return None if self.closing is None else (self.stage, self.closing)
