"""What SEARCH looks into, against the plain definition: parse the message, decode everything, compare."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.mime.comparators import ASCII_CASEMAP, OCTET, UNICODE_CASEMAP, Comparator
from mailserver.mime.search import _EXPANDED, Needle, field_start, has_field, kept_headers, places_in, places_of
from mailserver.mime.search_by import SelectedNeedle
from mailserver.mime.structure import Message, parse
from mailserver.mime.text import decode_transfer, fold
from mailserver.mime.words import codec_of, decode_octets, decode_words, read_words

_FOLD = re.compile(rb"\r?\n[ \t]")


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _plain_header(text: str, block: bytes) -> bool:
    return _fold(text) in _fold(decode_words(_FOLD.sub(b" ", block)))


def _plain_text(text: str, message: bytes, root: Message, *, headers: bool) -> bool:
    for part in root.walk():
        if headers and _plain_header(text, message[part.start : part.body]):
            return True
        if part.media_type.startswith("text/") and not part.is_message and not part.is_multipart:
            octets = decode_transfer(message[part.body : part.end], part.encoding)
            decoded = decode_octets(octets, part.charset)
            if _fold(text) in _fold(decoded):
                return True
    return False


def _found(text: str, message: bytes, *, headers: bool) -> bool:
    """As a search does it."""
    root = parse(message)
    needle, piece = Needle(text), places_of(message, root)
    kept = kept_headers(message, root)
    if headers and needle.kept in kept and needle.is_kept(kept):
        return True
    where = needle.where(piece, headers=headers)
    # No more is read than up to the last place.
    read = message[: max([place[3] for place in where], default=0)]
    return needle.is_in(read, where, piece)


_PIECES = st.sampled_from([
    b"needle", b"NEE", b"dle", b"=6E", b"eedle", b"=\r\n", b"= \r\n", b"=\t\r\n", b" \r\n", b" ", b"\r\n", b"x", b"=",
    "stra\u00dfe".encode(), "\u00df".encode("latin-1"), "\u0130".encode(), "\u212a".encode(), "\ufb03".encode(), b"s",
    "u\u0338".encode(), b"\xcc\x88", b"stra=C3=9Fe",
    b"bmVlZGxl", b"bm Vl\r\nZGxl", "gr\u00fc\u00df".encode(), "gr\u00fcn".encode("latin-1"), b"gr=C3=BC=C3=9F",
    "gru\u0308n".encode(),
    "gr\u00fc\u00df".encode("iso2022_jp_2", "replace"), b"=?utf-8?q?gr=C3=BC=C3=9F?=", b"=?", b"?=", b"\r\n\t",
])  # fmt: skip
_BODIES = st.lists(_PIECES, max_size=8).map(b"".join)
_FIELDS = st.lists(
    st.sampled_from([
        b"MIME-Version: 1.0\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Transfer-Encoding: BASE64\r\n", b"Content-Type: text/plain; charset=utf-8\r\n",
        b"Content-Type: text/html; charset=iso-8859-1\r\n", b"Content-Type: text/plain; charset=iso-2022-jp\r\n",
        b"Content-Type: text/plain; charset=x-unknown\r\n", b"Content-Type: application/pdf\r\n",
        b"Content-Type: message/rfc822\r\n", b"Content-Type: multipart/mixed; boundary=q\r\n",
        b"Subject: needle\r\n", b"subject : nee\r\n\tdle\r\n", b"Subject: =?utf-8?b?bmVlZGxl?=\r\n",
        b"To: =?iso-8859-1?q?gr=FC=DF?= <a@b.test>\r\n", "Cc: gr\u00fc\u00df\r\n".encode(), b"X-Y: needle\r\n",
        "Bcc: gru\u0308n\r\n".encode(), b"X-B: nee\r\n\tdle\r\n",
        b"X-S: =?utf-8?q?stra=C3=9Fe?=\r\n", b"Cc: =?utf-8?q?K=FF?= strasse\r\n",
        b"X-Z: =?utf-8?q?nee?=\r\n =?utf-8?q?dle?=\r\n", b"no field with needle\r\n", b"X-A: x\r\n needle\r\n",
    ]),
    max_size=5,
).map(b"".join)  # fmt: skip
_PARTS = st.lists(st.tuples(_FIELDS, _BODIES), max_size=3).map(
    lambda parts: b"".join(b"\r\n--q\r\n" + head + b"\r\n" + body for head, body in parts) + b"\r\n--q--\r\n"
)
_MESSAGES = st.tuples(_FIELDS, st.one_of(_BODIES, _PARTS)).map(lambda m: m[0] + b"\r\n" + m[1])
_TEXTS = st.sampled_from(
    ["needle", "NEE", "nee dle", "x", "e", "gr", "gr\u00fc\u00df", "GR\u00dcN", "gru\u0308N", "x-y: needle", "",
     "strasse", "stra\u00dfe", "ss", "as", "S", "i", "k", "ffi", "\ufb01", "fi", "nf", "ie", "u", "gru", "Stra", "ase"]
)  # fmt: skip


@given(_MESSAGES, _TEXTS)
@settings(max_examples=600)
def test_text_and_body_against_the_plain_definition(message: bytes, text: str) -> None:
    root = parse(message)
    assert _found(text, message, headers=False) is _plain_text(text, message, root, headers=False)
    assert _found(text, message, headers=True) is _plain_text(text, message, root, headers=True)


def test_no_other_character_folds_to_ascii() -> None:
    assert {c for c in map(chr, range(0x80, 0x11_0000)) if any(map(str.isascii, fold(c)))} == _EXPANDED.keys()


def _plain_by(comparator: Comparator, text: str, message: bytes, root: Message, *, headers: bool) -> bool:
    """RFC 5255 §4.6."""
    texts: list[str | bytes] = []
    for part in root.walk():
        if headers:
            texts += map(read_words, _FOLD.sub(b" ", message[part.start : part.body]).split(b"\r\n"))
        if part.media_type.startswith("text/") and not part.is_message and not part.is_multipart:
            octets = decode_transfer(message[part.body : part.end], part.encoding)
            try:
                texts.append(octets.decode(codec_of(part.charset)))
            except UnicodeError:
                texts.append(octets)
    return any(
        comparator.key(text) in comparator.key(one) if isinstance(one, str) else text.encode() in one for one in texts
    )


@given(_MESSAGES, _TEXTS, st.sampled_from([UNICODE_CASEMAP, ASCII_CASEMAP, OCTET]))
@settings(max_examples=600)
def test_other_comparators_against_the_plain_definition(message: bytes, text: str, comparator: Comparator) -> None:
    root = parse(message)
    needle, piece = SelectedNeedle(text, comparator), places_of(message, root)
    for headers in (False, True):
        where = needle.where(piece, headers=headers)
        read = message[: max([place[3] for place in where], default=0)]
        found = needle.is_in(read, where, piece) or (headers and needle.in_header(message[root.start : root.body]))
        assert found is _plain_by(comparator, text, message, root, headers=headers)


@given(_MESSAGES, _TEXTS, st.sampled_from(["subject", "to", "cc"]))
@settings(max_examples=300)
def test_kept_fields_against_the_plain_definition(message: bytes, text: str, name: str) -> None:
    root = parse(message)
    kept = kept_headers(message, root)
    values = [message[start:end].partition(b":")[2] for found, start, end in root.fields if found == name.encode()]
    octets = Needle(text).kept
    assert has_field(kept, name, octets) is any(_plain_header(text, value) for value in values)
    # The store's index looks for these octets first.
    assert not has_field(kept, name, octets) or (octets or field_start(name)) in kept


@pytest.mark.parametrize("encoded", ["=?utf-8?q?x=0Asubject:_y?=", "=?utf-8?b?eApzdWJqZWN0OiB5?="])
def test_no_field_is_made_of_an_encoded_line_break(encoded: str) -> None:
    message = f"To: {encoded}\r\n\r\n".encode()
    kept = kept_headers(message, parse(message))
    assert not has_field(kept, "subject", b"") and has_field(kept, "to", b"subject: y")


def test_no_field_is_made_of_an_encoded_name() -> None:
    message = b"=?utf-8?q?subject?=: x\r\n\r\n"
    assert not has_field(kept_headers(message, parse(message)), "subject", b"x")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"nee= \r\ndle", "needle"), (b"nee=\t \r\ndle", "needle"), (b"nee \r\ndle", "nee \r\ndle"),
        (b"nee \r\ndle", "nee\r\ndle"), (b"nee= \ndle", "needle"), (b"nee=\r\ndle", "needle"),
        (b"x=20\r\ny", "x \r\ny"), (b"n=65edle", "NEEDLE"),
    ],
)  # fmt: skip
def test_white_space_in_quoted_printable(body: bytes, text: str) -> None:
    message = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body
    assert _found(text, message, headers=False) is _plain_text(text, message, parse(message), headers=False)


def test_a_fold_is_a_space_in_any_header() -> None:
    own = b"X-Long: nee\r\n\tdle\r\n"
    part = b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n" + own + b"\r\nx\r\n--q--\r\n"
    for message in (own + b"\r\n", part):
        assert _found("nee dle", message, headers=True) and not _found("needle", message, headers=True)
        assert not _found("nee dle", message, headers=False)


def test_only_text_is_read() -> None:
    head = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n'
    message = head + b"Content-Type: a/b\r\n\r\n" + b"x" * 10_000 + b"\r\n--b--\r\n"
    piece = places_of(message, parse(message))
    assert [message[start:end] for _, _, start, end in Needle("a").where(piece, headers=False)] == [b"text"]
    assert max(end for _, _, _, end in places_in(piece)) < 200
    assert Needle("\u00e4").where(piece, headers=True) == []


def test_a_large_text_is_not_decoded_when_it_is_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(body: bytes, encoding: bytes | None) -> bytes:
        raise AssertionError(len(body))

    message = b"Subject: x\r\n\r\n" + b"text" * (1 << 19)
    with monkeypatch.context() as patched:
        patched.setattr("mailserver.mime.search.decode_transfer", unwanted)
        piece = places_of(message, parse(message))
    needle = Needle("TTEXT")
    assert needle.is_in(message, needle.where(piece, headers=False), piece)


def test_many_codecs() -> None:
    names = [f"windows-125{n}" for n in range(9)] + [f"iso-8859-{n}" for n in range(2, 9)] + ["utf-16", "big5", "gbk"]
    parts = b"".join(
        b"\r\n--b\r\nContent-Type: text/plain; charset=%b\r\n\r\n\xe4x" % name.encode() for name in names
    )
    message = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + parts
    for text in ("\u00e4", "x", "\u0434"):
        assert _found(text, message, headers=False) is _plain_text(text, message, parse(message), headers=False)
