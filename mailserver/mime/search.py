"""What SEARCH looks into (RFC 9051 §6.4.4), found out once, when a message is indexed, and not at every search.

Two pieces of a message: its header fields as people read them, so that an index can look for text in them as octets;
and its places, which say where other header fields and text parts are and how to read them, so that a search reads a
message only as far as it has text, and decodes only what is not there as it is.

All text is compared as mime/text.py folds it (`comparators.CASEFOLD`; other comparators: mime/search_by.py). ASCII is
looked for among octets wherever that finds the same: converting a text and folding it costs ten times as much.
"""

from __future__ import annotations

import binascii
import datetime
import re
import struct
from collections.abc import Iterable, Iterator

from mailserver.mime.structure import Message, Part
from mailserver.mime.text import decode_transfer, fold, has_padding
from mailserver.mime.words import codec_of, decode_words

__all__ = [
    "KEPT_FIELDS", "SENT_ANY", "Needle", "Place", "codec_at", "field_start", "has_field", "is_ascii", "is_header",
    "kept_headers", "octets_at", "places_in", "places_of", "sent_after", "sent_from", "unfolded",
]  # fmt: skip

#: Fields that are always among the kept ones, in lower case: those that people and mail programs search by.
KEPT_FIELDS = frozenset(b"subject from to cc bcc sender reply-to message-id in-reply-to list-id".split())

#: Larger text is not looked at when it is indexed.
_LARGE = 1 << 20
# Becomes one space: nobody who looks for the words around it knows that a field was folded with a tab there.
_FOLD = re.compile(rb"\r?\n[ \t]")
_BREAKS = re.compile(r"[\r\n]")
_SPACE = re.compile(rb"[ \t\r\n]")
#: A letter is looked at so often before a text is folded.
_TRIES = 16
#: The day of the Date field as `datetime.date.toordinal` counts, whatever the zone (0: there is none); octets of names
#: of codecs. As octets pieces are in the order of their days.
_HEAD = struct.Struct(">IH")
_PLACE = struct.Struct("<BBII")
_DATE = re.compile(rb"[^:]*+:(?:[^0-9\n]|\n[ \t])*+([0-9]{1,2})\s+([A-Za-z]{3})[A-Za-z]*\s+([0-9]{2,4})")
_MONTHS = {m: n for n, m in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
#: Characters beyond ASCII whose folded form has ASCII in it, and that form; 255 is what is not ASCII.
_EXPANDED = {
    character: bytes([ord(one) if one.isascii() else 255 for one in fold(character)])
    for character in "\u00df\u0130\u0149\u017f\u037e\u1e9a\u1e9e\u1fef\u212a\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
}
#: Codecs in which octets of ASCII may be parts of other characters.
_NOT_ASCII_BASED = ("utf-16", "gb18030", "big5", "euc-", "iso2022", "cp932", "cp949")


# -- header fields, as people read them --------------------------------------------------------------------------------


def kept_headers(message: bytes, root: Message) -> bytes:
    r"""The fields of KEPT_FIELDS and all fields of the message's own header that are not plain ASCII: decoded, folded
    in case and in UTF-8, each as `\nname:value`, in message order; then the names of all others, each as `\nname:`, and
    a final `\n`."""
    out = []
    others: dict[bytes, str] = {}
    for name, start, end in root.fields:
        if name in KEPT_FIELDS or not _is_plain(message[start:end]):
            raw = message[message.index(b":", start) + 1 : end].rstrip(b"\r\n")
            value = fold(decode_words(_FOLD.sub(b" ", raw) if b"\n" in raw else raw))
            if "\n" in value or "\r" in value:
                value = _BREAKS.sub(" ", value)
            out.append(f"\n{name.decode('utf-8', 'replace')}:{value}")
        elif name not in others:
            others[name] = f"\n{name.decode('ascii')}:"
    return "".join([*out, *others.values(), "\n"]).encode("utf-8", "replace")


def _is_plain(header: bytes) -> bool:
    return header.isascii() and b"=?" not in header


def has_field(kept: bytes, name: str, octets: bytes) -> bool:
    """Whether these kept headers have a field of this (lower-case) name with these octets in its value."""
    start = field_start(name)
    line = kept.find(start)
    while line >= 0:
        end = kept.find(b"\n", line + 1)
        if kept.find(octets, line + len(start), end) >= 0:
            return True
        line = kept.find(start, end)
    return False


def field_start(name: str) -> bytes:
    """What a field of this (lower-case) name begins with among the kept headers."""
    return b"\n%b:" % name.encode("utf-8", "replace")


# -- places ------------------------------------------------------------------------------------------------------------

#: What there is at a place and how to read it, the number of its codec, where it begins and ends.
Place = tuple[int, int, int, int]

#: Header fields; else the body of a text part.
_HEADER = 1
#: Nothing but ASCII, once the transfer encoding is undone (in a header: and no encoded words).
_ASCII = 2
_QUOTED_PRINTABLE = 4
_BASE64 = 8
#: The charset has ASCII where ASCII has it, and nowhere else.
_ASCII_BASED = 16
#: Quoted-printable with white space at ends of lines, which is none of the text.
_PADDED = 32
#: There are characters of _EXPANDED in it, or nobody looked.
_EXPANDS = 64


def places_in(piece: bytes) -> Iterator[Place]:
    """The places of a message, in its order, from the piece that `places_of` made."""
    return _PLACE.iter_unpack(piece[_HEAD.size + _HEAD.unpack_from(piece)[1] :])


def sent_from(day: datetime.date) -> bytes:
    """Pieces of messages that were sent on this day or later are not less than this, others are."""
    return _HEAD.pack(day.toordinal(), 0)[:4]


def sent_after(day: datetime.date) -> bytes:
    """Pieces of messages that were sent after this day are greater than this, others are less."""
    return _HEAD.pack(day.toordinal() + 1, 0)[:4]


#: Pieces of messages with any date are greater than this.
SENT_ANY = _HEAD.pack(1, 0)[:4]


def is_header(place: Place) -> bool:
    """Whether there are header fields, else a text part's body."""
    return place[0] & _HEADER != 0


def is_ascii(place: Place) -> bool:
    """Whether there is nothing but ASCII, once the transfer encoding is undone; in a header: and no encoded words."""
    return place[0] & _ASCII != 0


def codec_at(place: Place, piece: bytes) -> str:
    """The codec of a text part's body."""
    names = piece[_HEAD.size : _HEAD.size + _HEAD.unpack_from(piece)[1]]
    return names.split(b",")[place[1]].decode("ascii")


def octets_at(octets: bytes, place: Place) -> bytes:
    """What stands at the place of a text part's body, without its transfer encoding."""
    kind = place[0]
    if kind & _PADDED:
        return decode_transfer(octets, b"quoted-printable")
    if kind & _QUOTED_PRINTABLE:
        return binascii.a2b_qp(octets)
    return decode_transfer(octets, b"base64") if kind & _BASE64 else octets


def unfolded(block: bytes) -> bytes:
    """A field or a header block, each field in one line."""
    return _FOLD.sub(b" ", block)


def places_of(message: bytes, root: Message) -> bytes:
    """Where a message has text apart from its kept headers, and how to read it there, as octets for the index."""
    codecs: list[str] = []
    places = [_header(message, start, end) for start, end in _plain_runs(message, root)]
    for part in root.walk():
        if part is not root and part.body > part.start:
            places.append(_header(message, part.start, part.body))
        if not part.is_message and not part.is_multipart and part.media_type.startswith("text/"):
            places.append(_text(message, part, codecs))
    names = ",".join(codecs).encode("ascii")
    return b"".join([_HEAD.pack(_day(message, root), len(names)), names, *(_PLACE.pack(*place) for place in places)])


def _day(message: bytes, root: Message) -> int:
    for name, start, end in root.fields:
        found = _DATE.match(message, start, end) if name == b"date" else None
        if found is None:
            continue
        year = int(found[3])
        if len(found[3]) < 4:
            # RFC 5322 §4.3 obs-year.
            year += 1900 if len(found[3]) == 3 or year >= 50 else 2000
        try:
            return datetime.date(year, _MONTHS.get(found[2].lower(), 0), int(found[1])).toordinal()
        except ValueError:
            return 0
    return 0


def _plain_runs(message: bytes, root: Message) -> Iterator[tuple[int, int]]:
    """The message's own header without the fields that are kept because they are not plain."""
    at = 0
    for _, start, end in root.fields:
        if not _is_plain(message[start:end]):
            if at < start:
                yield at, start
            at = end
    if at < root.body:
        yield at, root.body


def _header(message: bytes, start: int, end: int) -> Place:
    return (_HEADER | _ASCII if _is_plain(message[start:end]) else _HEADER, 0, start, end)


def _letters(octets: bytes, codec: str, kind: int) -> int:
    """What kinds of characters are in a text."""
    if octets.isascii() and kind & _ASCII_BASED:
        return _ASCII
    text = octets.decode(codec, "replace")
    if octets.isascii() and text.encode("utf-8") == octets:
        return _ASCII
    return _EXPANDS if any(character in text for character in _EXPANDED) else 0


def _text(message: bytes, part: Part, codecs: list[str]) -> Place:
    codec = codec_of(part.charset)
    if codec not in codecs:
        codecs.append(codec)
    kind = {b"base64": _BASE64, b"quoted-printable": _QUOTED_PRINTABLE | _PADDED}.get((part.encoding or b"").lower(), 0)
    if not codec.startswith(_NOT_ASCII_BASED):
        kind |= _ASCII_BASED
    if part.end - part.body <= _LARGE:
        octets = message[part.body : part.end]
        if kind & _QUOTED_PRINTABLE and not has_padding(octets):
            octets, kind = binascii.a2b_qp(octets), kind & ~_PADDED
        else:
            octets = decode_transfer(octets, part.encoding)
        kind |= _letters(octets, codec, kind)
    else:
        kind |= _EXPANDS
    return (kind, codecs.index(codec), part.body, part.end)


# -- looking -----------------------------------------------------------------------------------------------------------


class Needle:
    """A text that is looked for as it is usually done."""

    __slots__ = ("_encoded", "_expanding", "_folded", "_octets", "_rest", "_spaced", "kept")

    def __init__(self, text: str) -> None:
        self._folded = fold(text)
        #: Its octets among kept headers.
        self.kept = self._folded.encode("utf-8", "replace")
        self._octets = self.kept if self.kept.isascii() else None
        self._spaced = self._octets is not None and _SPACE.search(self._octets) is not None
        #: Kinds of places where it does not stand as it is. Folded fields have other white space.
        self._encoded = _QUOTED_PRINTABLE | _BASE64 | (_HEADER if self._spaced else 0)
        #: Characters in whose folded form may be some of it; and a part of it that is in none of these forms.
        self._expanding = [one for one, image in _EXPANDED.items() if _overlap(image, self.kept)]
        letters = b"".join([_EXPANDED[one] for one in self._expanding])
        parts = self.kept.translate(bytes.maketrans(letters, bytes(len(letters)))).split(b"\0")
        self._rest = max(parts, key=len)

    def where(self, piece: bytes, *, headers: bool) -> list[Place]:
        """The places that may have it: no headers for BODY, and nothing in ASCII if it is not ASCII itself."""
        without = (0 if headers else _HEADER) | (_ASCII if self._octets is None else 0)
        return [place for place in places_in(piece) if not place[0] & without]

    def is_in(self, message: bytes, places: Iterable[Place], piece: bytes) -> bool:
        """Whether it is at one of these places. No more of the message is needed than up to the last one's end.

        Args:
            piece: of this message, the places are some of it.
        """
        needle, encoded = self._octets, self._encoded
        for place in places:
            kind, _, start, end = place
            octets = message[start:end]
            if needle is None or kind & encoded or not kind & (_ASCII | _ASCII_BASED):
                if self._is_at(octets, place, piece):
                    return True
            elif self._is_in_ascii(needle, octets, place, piece):
                return True
        return False

    def _is_at(self, octets: bytes, place: Place, piece: bytes) -> bool:
        kind = place[0]
        if kind & _HEADER:
            return self.in_header(octets)
        octets = octets_at(octets, place)
        if self._octets is not None and kind & (_ASCII | _ASCII_BASED):
            return self._is_in_ascii(self._octets, octets, place, piece)
        return self._folded in fold(octets.decode(codec_at(place, piece), "replace"))

    def _is_in_ascii(self, needle: bytes, octets: bytes, place: Place, piece: bytes) -> bool:
        """Folding only takes away ASCII that a mark follows, and only brings some in where one of a few stands."""
        kind, lowered = place[0], octets.lower()
        if kind & _EXPANDS:
            # Most have not even this.
            if self._rest not in lowered:
                return False
            if needle not in lowered:
                lowered = self._expanded(lowered, codec_at(place, piece))
        if needle not in lowered:
            return False
        if kind & _ASCII or _unmarked(needle, lowered):
            return True
        return self._folded in fold(octets.decode(codec_at(place, piece), "replace"))

    def _expanded(self, octets: bytes, codec: str) -> bytes:
        for character in self._expanding:
            encoded = character.encode(codec, "ignore")
            if encoded:
                octets = octets.replace(encoded, _EXPANDED[character])
        return octets

    def is_kept(self, kept: bytes) -> bool:
        """Whether it is in one of these kept headers, name and value."""
        return b"\n" not in self.kept and self.kept in kept

    def in_header(self, block: bytes) -> bool:
        """In a field or a header block, which may be folded and have encoded words."""
        if self._octets is not None and _is_plain(block):
            return self._octets in (unfolded(block) if self._spaced else block).lower()
        return self._folded in fold(decode_words(unfolded(block)))


def _overlap(image: bytes, needle: bytes) -> bool:
    """Whether some of the one may be where some of the other is."""
    if image in needle or needle in image:
        return True
    return any(needle.startswith(image[-n:]) or needle.endswith(image[:n]) for n in range(1, len(image)))


def _unmarked(needle: bytes, octets: bytes) -> bool:
    """Whether ASCII follows one of the first that are found, or nothing: then no mark belongs to its last letter."""
    at = octets.find(needle)
    for _ in range(_TRIES):
        if at < 0 or octets[at + len(needle) : at + len(needle) + 1] < b"\x80":
            break
        at = octets.find(needle, at + 1)
    else:
        return False
    return at >= 0
