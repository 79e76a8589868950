"""How a FETCH is answered, decided once per command (DESIGN §7: joined, never parsed again).

A plan is one template and a column function per item: answering a batch is one list comprehension over columns.

    table      UID, FLAGS, INTERNALDATE, SAVEDATE, RFC822.SIZE, MODSEQ from the shared arrays
    index      ENVELOPE, BODYSTRUCTURE, PREVIEW, listed header fields  from the store's rendered pieces
    message    everything else                                         from the octets of the message

`Pieces` are columns of what the index and the message gave for the rows, in the order of `Plan.rendered` and then of
`Plan.sections`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from mailserver.imap.fetch.listed import listed_literals
from mailserver.imap.fetch.sections import SectionItem, field_filter, render
from mailserver.imap.rows import Rows
from mailserver.mime.headers import LISTED_FIELDS
from mailserver.model.mailbox import Rendered
from mailserver.wire.imap.dates import format_date_time
from mailserver.wire.imap.fetch_items import BinarySection, BodySection, FetchAttribute, FetchItem, SectionText

__all__ = ["Pieces", "Plan", "is_whole", "make_plan"]

_LISTED = frozenset(name.decode("ascii") for name in LISTED_FIELDS)

#: Rows whose rendered pieces are held while their messages are read; any others.
_FEW, _MANY = 256, 10_000

#: A column for each of the rendered pieces, then for each section's values.
Pieces = Sequence[Sequence[bytes]]
_Column = Callable[[Rows, Pieces, Sequence[bytes]], Iterable[object]]


def _flags(rows: Rows, pieces: Pieces, rendered: Sequence[bytes]) -> Iterable[object]:
    return [rendered[number] for number in rows.flags]


def _dates(rows: Rows, pieces: Pieces, rendered: Sequence[bytes]) -> Iterable[object]:
    return [format_date_time(date) for date in rows.dates]


def _saved(rows: Rows, pieces: Pieces, rendered: Sequence[bytes]) -> Iterable[object]:
    return [format_date_time(date) for date in rows.saved]


_TABLE: dict[FetchAttribute, tuple[bytes, _Column]] = {
    FetchAttribute.UID: (b"UID %d", lambda rows, pieces, rendered: rows.uids),
    FetchAttribute.FLAGS: (b"FLAGS (%b)", _flags),
    FetchAttribute.INTERNALDATE: (b"INTERNALDATE %b", _dates),
    FetchAttribute.SAVEDATE: (b"SAVEDATE %b", _saved),
    FetchAttribute.RFC822_SIZE: (b"RFC822.SIZE %d", lambda rows, pieces, rendered: rows.sizes),
    FetchAttribute.MODSEQ: (b"MODSEQ (%d)", lambda rows, pieces, rendered: rows.modseqs),
}
_INDEX = {
    FetchAttribute.ENVELOPE: Rendered.ENVELOPE,
    FetchAttribute.BODYSTRUCTURE: Rendered.BODYSTRUCTURE,
    FetchAttribute.BODY: Rendered.BODY,
    FetchAttribute.EMAILID: Rendered.EMAILID,
    FetchAttribute.THREADID: Rendered.THREADID,
    FetchAttribute.PREVIEW: Rendered.PREVIEW,
    FetchAttribute.PREVIEW_LAZY: Rendered.PREVIEW,
}


def _piece(at: int) -> _Column:
    return lambda rows, pieces, rendered: pieces[at]


def _listed_header(at: int, item: BodySection) -> _Column:
    if item.partial is not None:
        fields = field_filter(item.fields)
        return lambda rows, pieces, rendered: [render(item, fields(piece)) for piece in pieces[at]]
    literals = listed_literals(item.fields)
    return lambda rows, pieces, rendered: literals(pieces[at])


@dataclass(slots=True)
class Plan:
    """Made by `make_plan`.

    Attributes:
        names: of each item, what stands before its value, ready for `%`.
        columns: of each item, what goes in there.
        sections_at: of each item, its place in `sections`, or -1.
        rendered: the index fields that are needed.
        sections: the items that need octets of the message.
        header_only: whether header blocks are enough for all of them.
        whole_only: whether all of them are (parts of) whole messages: their ranges are known without reading.
        lazy: whether all index fields are such as the client does not want to wait for.
        marks_seen: whether an item without PEEK is among them.
        segments: what a response has up to the octets of each section, and at its end: for `%`, with the columns (of
            which the message number is the first) from one up to another.
    """

    names: list[bytes]
    columns: list[_Column]
    sections_at: list[int]
    rendered: list[Rendered]
    sections: list[SectionItem]
    header_only: bool
    whole_only: bool
    lazy: bool
    marks_seen: bool
    lead: bytes
    segments: list[tuple[bytes, int, int]]

    @property
    def batch(self) -> int:
        """How many rows are taken at once; what is read of them is bounded by itself."""
        return _FEW if self.rendered and (self.sections or self.lazy) else _MANY

    def lines(self, rows: Rows, pieces: Pieces, flags: Sequence[bytes]) -> bytes:
        """The FETCH responses of these rows. `flags` are the FlagTable's rendered sets."""
        columns = [column(rows, pieces, flags) for column in self.columns]
        template = b"".join([template for template, _, _ in self.segments])
        return b"".join([template % row for row in zip(rows.numbers, *columns, strict=True)])

    def answers(
        self, rows: Rows, pieces: Pieces, octets: Sequence[Sequence[bytes]], flags: Sequence[bytes]
    ) -> list[bytes]:
        """The same with the octets of sections, which go behind their pieces; they are not copied."""
        columns = [rows.numbers, *[column(rows, pieces, flags) for column in self.columns]]
        parts: list[Sequence[bytes]] = []
        for (template, start, stop), values in zip_longest(self.segments, octets):
            if start < stop:
                parts.append([template % row for row in zip(*columns[start:stop], strict=True)])
            else:
                parts.append([template] * len(rows))
            if values is not None:
                parts.append(values)
        return list(chain.from_iterable(zip(*parts, strict=True)))


def make_plan(items: Sequence[FetchItem], *, uid_only: bool = False) -> Plan:
    """The plan for these items, answered in this order; with `uid_only` in UIDFETCH responses (RFC 9586 §3.3)."""
    sections: list[SectionItem] = [
        item for item in items if not isinstance(item, FetchAttribute) and not _is_listed(item)
    ]
    lead = b"* %d UIDFETCH (" if uid_only else b"* %d FETCH ("
    rendered: list[Rendered] = []
    for item in items:
        if isinstance(item, FetchAttribute):
            field = _INDEX.get(item)
        else:
            field = Rendered.LISTED_HEADERS if _is_listed(item) else None
        if field is not None and field not in rendered:
            rendered.append(field)
    names, columns, sections_at = [], [], []
    for item in items:
        section_at = -1
        if isinstance(item, FetchAttribute):
            if item in _TABLE:
                name, column = _TABLE[item]
            else:
                name, column = item.value.removesuffix(b" (LAZY)") + b" %b", _piece(rendered.index(_INDEX[item]))
        else:
            name = item.name.replace(b"%", b"%%") + b" %b"
            if isinstance(item, BodySection) and _is_listed(item):
                column = _listed_header(rendered.index(Rendered.LISTED_HEADERS), item)
            else:
                section_at = sections.index(item)
                column = _piece(len(rendered) + section_at)
        names.append(name)
        columns.append(column)
        sections_at.append(section_at)
    return Plan(
        names, columns, sections_at, rendered, sections,
        header_only=all(_in_header(item) for item in sections),
        whole_only=all(is_whole(item) for item in sections),
        lazy=all(item is FetchAttribute.PREVIEW_LAZY for item in items if item in _INDEX or _is_listed(item)),
        marks_seen=any(isinstance(item, BodySection | BinarySection) and not item.peek for item in items),
        lead=lead, segments=_segments(lead, names, sections_at),
    )  # fmt: skip


def _segments(
    lead: bytes, names: Sequence[bytes], sections_at: Sequence[int]
) -> list[tuple[bytes, int, int]]:
    segments, start, text = [], 0, lead
    for column, (name, section_at) in enumerate(zip(names, sections_at, strict=True), 1):
        text += name if column == 1 else b" " + name
        if section_at >= 0:
            segments.append((text, start, column + 1))
            start, text = column + 1, b""
    return [*segments, (text + b")\r\n", start, len(names) + 1)]


def _is_listed(item: FetchItem) -> bool:
    """Header fields that the index keeps."""
    return (
        isinstance(item, BodySection)
        and not item.part
        and item.text is SectionText.HEADER_FIELDS
        and _LISTED.issuperset(item.fields)
    )


def _in_header(item: SectionItem) -> bool:
    return isinstance(item, BodySection) and not item.part and item.text not in (None, SectionText.TEXT)


def is_whole(item: SectionItem) -> bool:
    """Whether it is (a part of) the whole message."""
    return not item.part and not (isinstance(item, BodySection) and item.text is not None)
