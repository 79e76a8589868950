"""A mail server that counts what it took, for each message and recipient, over all lives of the server that sends.

What happens to a recipient is in its name. `bad…`: RCPT gets 550; `reject…`: the end of the message gets 554; and
at the first time only, `later…`: RCPT gets 450; `busy…`: the end gets 451; `cut…`: the message is taken, and the
connection closed without a word; `drop…`: the same, and the message is not taken. Everybody else gets it at once.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections import Counter
from types import TracebackType

__all__ = ["CountingReceiver"]

_MESSAGE_ID = re.compile(rb"(?im)^message-id: *(\S+)")
_QUEUE_ID = re.compile(rb"\bid ([0-9a-z]{16})\b")
_EHLO = b"250-mx.far.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 200
    receiver: CountingReceiver


class CountingReceiver:
    """A context manager, with its own threads. `taken` counts by (Message-ID, recipient)."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[str, str]] = Counter()
        #: Queue ids of the sender, by Message-ID.
        self.queue_ids: dict[str, str] = {}
        self._met: set[str] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.receiver = self
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> CountingReceiver:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rcpt(self, address: str) -> bytes:
        """The reply to RCPT."""
        if address.startswith("bad"):
            return b"550 5.1.1 nobody here\r\n"
        if address.startswith("later") and self._first(address):
            return b"450 4.2.1 come again\r\n"
        return b"250 2.1.5 ok\r\n"

    def end(self, recipients: list[str], content: bytes) -> bytes:
        """The reply to the end of a message; none: the connection is cut."""
        first = recipients[0]
        if first.startswith("reject"):
            return b"554 5.6.0 not that\r\n"
        if first.startswith("busy") and self._first(first):
            return b"451 4.3.0 come again\r\n"
        if first.startswith("drop") and self._first(first):
            return b""
        message_id, queue_id = _MESSAGE_ID.search(content), _QUEUE_ID.search(content)
        assert message_id is not None
        with self._lock:
            name = message_id[1].decode()
            self.queue_ids[name] = queue_id[1].decode() if queue_id else ""
            self.taken.update((name, recipient) for recipient in recipients)
        return b"" if first.startswith("cut") and self._first(first) else b"250 2.0.0 kept\r\n"

    def _first(self, address: str) -> bool:
        with self._lock:
            new = address not in self._met
            self._met.add(address)
            return new


class _Session(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        with contextlib.suppress(ConnectionError, ValueError):
            self._dialogue(server.receiver)

    def _dialogue(self, receiver: CountingReceiver) -> None:
        recipients: list[str] = []
        self.wfile.write(b"220 mx.far.test ESMTP\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            reply = b"250 2.0.0 ok\r\n"
            if verb == b"EHLO":
                reply = _EHLO
            elif verb == b"MAIL":
                recipients = []
            elif verb == b"RCPT":
                address = line[line.index(b"<") + 1 : line.index(b">")].decode()
                reply = receiver.rcpt(address)
                recipients += [address] * reply.startswith(b"250")
            elif verb == b"DATA" and recipients:
                self.wfile.write(b"354 go on\r\n")
                reply = receiver.end(recipients, self._content())
                if not reply:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
            elif verb == b"DATA":
                reply = b"554 5.5.1 no valid recipients\r\n"
            elif verb == b"QUIT":
                self.wfile.write(b"221 2.0.0 bye\r\n")
                return
            self.wfile.write(reply)

    def _content(self) -> bytes:
        content = b""
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise ConnectionError
            content += line
        return content
