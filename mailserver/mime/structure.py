"""The parts of a message, by position (RFC 2045, RFC 2046), in one pass that copies nothing.

A line that begins with `--` and a boundary of an open multipart ends the parts within; of several boundaries the
one that is the whole line counts, else the longest (RFC 2046 §5.1.1, §5.1.2). There is one reading of every message:
the first of two equal Content fields counts, only CRLF and LF end lines, and where senders and readers may disagree
`Message.ambiguous` says so (ATTACKS D06). Depth and number of parts are bounded (D04, D05): what lies deeper is
application/octet-stream, what comes later belongs to the last part. Sizes are those of the message as presented (CRLF).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailserver.mime.headers import Field, field_value, fields, header_block_end, unfold
from mailserver.mime.params import Parameters, decoded, parse_atoms, parse_disposition, parse_token, parse_type

__all__ = ["MAX_DEPTH", "MAX_PARTS", "Message", "Part", "parse"]

MAX_DEPTH = 100
MAX_PARTS = 10_000
# RFC 2046 §5.1.1.
_MAX_BOUNDARY = 70


class Part:
    """One part: its header is `buf[start:body]`, its body `buf[body:end]`. Texts are raw octets of the message.

    `type` and `subtype` are as written, None and empty where the default of RFC 2045 §5.2 holds. A multipart has any
    number of children, a message/rfc822 has one (the message within), others have none.
    """

    __slots__ = (
        "body",
        "boundary",
        "children",
        "content_id",
        "depth",
        "description",
        "disposition",
        "encoding",
        "end",
        "fields",
        "is_message",
        "is_multipart",
        "language",
        "location",
        "md5",
        "params",
        "start",
        "subtype",
        "type",
    )

    def __init__(self, start: int, depth: int) -> None:
        self.start = self.body = self.end = start
        self.depth = depth
        self.children: list[Part] = []
        self.fields: list[Field] = []
        self.type: bytes | None = None
        self.subtype = b""
        self.params: Parameters = ()
        self.boundary: bytes | None = None
        self.encoding: bytes | None = None
        self.content_id: bytes | None = None
        self.description: bytes | None = None
        self.disposition: tuple[bytes, Parameters] | None = None
        self.language: list[bytes] = []
        self.location: bytes | None = None
        self.md5: bytes | None = None
        self.is_multipart = False
        self.is_message = False

    @property
    def media_type(self) -> str:
        """`type/subtype` in lower case, with the defaults filled in."""
        if self.type is None:
            return "message/rfc822" if self.is_message else "text/plain"
        return f"{self.type.decode('latin-1')}/{self.subtype.decode('latin-1')}".lower()

    @property
    def charset(self) -> bytes:
        """The charset parameter, us-ascii where there is none (RFC 2045 §5.2)."""
        for name, text in self.params:
            if name.lower() == b"charset":
                return text
        return b"us-ascii"

    @property
    def file_name(self) -> str | None:
        """What the sender called this part: Content-Disposition's filename, else Content-Type's name, decoded."""
        if self.disposition is not None:
            found = decoded(self.disposition[1], b"filename")
            if found is not None:
                return found
        return decoded(self.params, b"name")

    def walk(self) -> Iterator[Part]:
        """This part and all beneath it, in message order."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += reversed(part.children)


class Message(Part):
    """The whole message as a part. `ambiguous`: other programs may see other parts in it."""

    __slots__ = ("ambiguous",)

    def __init__(self) -> None:
        super().__init__(0, 1)
        self.ambiguous = False

    def find(self, numbers: Sequence[int]) -> Part | None:
        """The part that IMAP calls by these section numbers (RFC 9051 §6.4.5.1); None when there is none.

        A message that is no multipart has one part, 1, which is its body: then the message itself is given.
        """
        part: Part = self
        at_message = True
        for number in numbers:
            if part.is_message and not at_message:
                part, at_message = part.children[0], True
            if part.is_multipart:
                if not 1 <= number <= len(part.children):
                    return None
                part = part.children[number - 1]
            elif number != 1 or not at_message:
                return None
            at_message = False
        return part


def parse(buf: bytes, header: list[Field] | None = None) -> Message:
    """The structure of a message, the fields of whose `header` may be known. Never raises."""
    return _Scanner(buf, header).run()


class _Open:
    """An open multipart: the text that a boundary line begins with, and where that comes next (or not before)."""

    __slots__ = ("level", "line", "next", "part")

    def __init__(self, part: Part, boundary: bytes, level: int) -> None:
        self.part = part
        self.line = b"\n--" + boundary
        self.next = -1
        #: How many parts are open when this multipart is the innermost.
        self.level = level


class _Scanner:
    """`chain` are the open parts from the message down, `stack` the multiparts among them that have a boundary."""

    def __init__(self, buf: bytes, header: list[Field] | None) -> None:
        self.buf = buf
        self.header = header
        self.root = Message()
        self.chain: list[Part] = []
        self.stack: list[_Open] = []
        self.count = 1
        #: The outermost of the open parts whose header ended at the next boundary line.
        self.cut: Part | None = None

    def run(self) -> Message:
        """Read part after part, from one boundary line to the next."""
        buf, size = self.buf, len(self.buf)
        part: Part | None = self.root
        pos = 0
        while True:
            if part is not None:
                pos = self._open(part)
            hit = self._next_boundary(pos)
            if hit is None or self.count >= MAX_PARTS:
                break
            at, owner = hit
            after = at + len(owner.line)
            final = buf.startswith(b"--", after)
            self._close(at, owner, pos, final=final)
            newline = buf.find(b"\n", after)
            if newline < 0:
                break
            pos = newline + 1
            part = None if final else self._child(owner.part, pos)
        self.root.ambiguous |= bool(self.stack)
        for open_part in self.chain:
            open_part.end = size
        return self.root

    def _child(self, parent: Part, start: int) -> Part:
        child = Part(start, parent.depth + 1)
        parent.children.append(child)
        self.count += 1
        return child

    def _open(self, part: Part) -> int:
        """Read the header of a part, and of the messages that begin where it ends; where the last body begins."""
        buf = self.buf
        while True:
            hit = self._next_boundary(part.start)
            # A boundary line ends a header too, and the line end before it belongs to the boundary (RFC 2046 §5.1.1).
            limit = len(buf) if hit is None else hit[0] + 1
            body = header_block_end(buf, part.start, limit)
            if hit is not None and body == limit:
                body = self._line_end_before(limit - 1, part.start)
                self.cut = self.cut or part
            part.body = part.end = body
            self._read_fields(part)
            self.chain.append(part)
            if part.boundary is not None:
                is_own = buf.startswith(b"--" + part.boundary, limit)
                if self.cut is part and is_own and self._empty_line(part.start, limit):
                    # Its own first boundary line, though one further out looks the same.
                    part.body = part.end = body = limit
                    self.cut = None
                self._push(part)
            if not part.is_message or self.count >= MAX_PARTS:
                return body
            part = self._child(part, body)

    def _empty_line(self, start: int, limit: int) -> bool:
        """Whether the line that ends at `limit` is the empty line that ends the header that begins at `start`."""
        begin = self._line_end_before(limit - 1, start)
        return begin == start < limit or self.buf[begin - 1] == 0x0A

    def _line_end_before(self, newline: int, start: int) -> int:
        """Where the line end begins whose LF is at `newline`, but not before `start`."""
        at = newline - 1 if newline > 0 and self.buf[newline - 1] == 0x0D else newline
        return max(at, start)

    def _push(self, part: Part) -> None:
        boundary = part.boundary or b""
        given = sum(name.lower() == b"boundary" for name, _ in part.params)
        alike = any(entry.line.startswith(boundary, 3) or boundary.startswith(entry.line[3:]) for entry in self.stack)
        self.root.ambiguous |= alike or given != 1 or not 1 <= len(boundary) <= _MAX_BOUNDARY
        self.stack.append(_Open(part, boundary, len(self.chain)))

    def _next_boundary(self, pos: int) -> tuple[int, _Open] | None:
        """The next boundary line at or behind `pos` (a line start): the place of the LF before it, and whose it is."""
        if not self.stack:
            return None
        buf = self.buf
        limit = size = len(buf)
        for entry in self.stack:
            if entry.next < pos - 1:
                # Nothing beyond `limit` matters: there, a boundary further out has already closed this one.
                at = buf.find(entry.line, pos - 1, min(limit + len(entry.line), size))
                entry.next = limit if at < 0 else at
            limit = min(limit, entry.next)
        if limit == size:
            return None
        return limit, self._owner(limit)

    def _owner(self, at: int) -> _Open:
        """Whose boundary line begins at `at`: the longest match counts, then the innermost, but an exact one wins."""
        buf = self.buf
        end = buf.find(b"\n", at + 1)
        length = (len(buf) if end < 0 else self._line_end_before(end, 0)) - at
        best: _Open | None = None
        for entry in reversed(self.stack):
            own = len(entry.line)
            if (best is None or own > len(best.line)) and buf.startswith(entry.line, at):
                best = entry
                if own == length or (own == length - 2 and buf.startswith(b"--", at + own)):
                    break
        return best or self.stack[-1]

    def _close(self, at: int, owner: _Open, pos: int, *, final: bool) -> None:
        """End the parts within `owner` at the line end before its boundary line; reading had gone on at `pos`.

        That line end is the boundary's. But where nothing of a body came before it (a header, or the boundary line of
        a part within), it is also the last line end of the parts around: as Dovecot counts, and so an attached message
        keeps its last line end.
        """
        closed = self.chain[owner.level :]
        end = at + 1 if self.cut or at + 1 == pos else self._line_end_before(at, 0)
        for part in closed:
            if part is self.cut:
                # It and what is in it have no body.
                end = 0
            part.end = max(part.body, end)
        self.cut = None
        del self.chain[owner.level :]
        while self.stack[-1] is not owner:
            self.root.ambiguous = True
            self.stack.pop()
        if final:
            self.stack.pop()

    def _read_fields(self, part: Part) -> None:
        buf = self.buf
        known = self.header if part is self.root else None
        part.fields = fields(buf, part.start, part.body) if known is None else known
        parent = self.chain[-1] if self.chain else None
        names = [name for name, _, _ in part.fields]
        # Without MIME-Version or Content-Type a message is no MIME message (RFC 2045 §4), whatever else it has.
        is_mime = (parent is not None and parent.is_multipart) or b"content-type" in names or b"mime-version" in names
        seen: set[bytes] = set()
        for name, start, end in part.fields if is_mime else ():
            if not name.startswith(b"content-"):
                continue
            if name in seen:
                self.root.ambiguous |= name in (b"content-type", b"content-transfer-encoding")
                if name != b"content-transfer-encoding" or part.encoding is not None:
                    continue
            seen.add(name)
            reader = _READERS.get(name)
            if reader is not None:
                reader(part, field_value(buf, start, end))
        if part.type is None:
            part.is_message = parent is not None and _is_digest(parent)
        if part.depth >= MAX_DEPTH and (part.is_multipart or part.is_message):
            part.type, part.subtype, part.params, part.boundary = b"application", b"octet-stream", (), None
            part.is_multipart = part.is_message = False


def _is_digest(part: Part) -> bool:
    # RFC 2046 §5.1.5: in a digest the default is message/rfc822.
    return part.is_multipart and part.subtype.lower() == b"digest"


def _read_type(part: Part, raw: bytes) -> None:
    typed = parse_type(raw)
    if typed is None:
        return
    part.type, part.subtype, part.params = typed
    main = part.type.lower()
    if main == b"multipart":
        part.is_multipart = True
        part.boundary = next((text for name, text in part.params if name.lower() == b"boundary"), None)
    elif main == b"message":
        part.is_message = part.subtype.lower() == b"rfc822"


def _read_encoding(part: Part, raw: bytes) -> None:
    part.encoding = parse_token(raw)


def _read_disposition(part: Part, raw: bytes) -> None:
    part.disposition = parse_disposition(raw)


def _read_language(part: Part, raw: bytes) -> None:
    part.language = parse_atoms(raw)


def _read_id(part: Part, raw: bytes) -> None:
    part.content_id = unfold(raw)


def _read_description(part: Part, raw: bytes) -> None:
    part.description = unfold(raw)


def _read_location(part: Part, raw: bytes) -> None:
    part.location = unfold(raw)


def _read_md5(part: Part, raw: bytes) -> None:
    part.md5 = unfold(raw)


_READERS = {
    b"content-type": _read_type,
    b"content-transfer-encoding": _read_encoding,
    b"content-disposition": _read_disposition,
    b"content-language": _read_language,
    b"content-id": _read_id,
    b"content-description": _read_description,
    b"content-location": _read_location,
    b"content-md5": _read_md5,
}
