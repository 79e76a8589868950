"""Encoded words (RFC 2047) and charsets. Only codecs on the list are used: a name out of a message never reaches
`codecs.lookup`, where `zlib`, `idna` and `unicode_escape` wait (ATTACKS D12). Nothing here raises."""

from __future__ import annotations

import binascii
import re

__all__ = ["codec_of", "decode_octets", "decode_words", "read_words"]

_FALLBACK = "utf-8"
_CODECS = {
    name.encode(): codec
    for codec, names in {
        "utf-8": "utf-8 utf8 us-ascii ascii unicode-1-1-utf-8 ansi_x3.4-1968",
        # What says Latin-1 is Windows-1252 (WHATWG Encoding §4.2); C1 controls have no place in mail.
        "cp1252": "iso-8859-1 latin1 windows-1252 cp1252 iso8859-1 iso_8859-1 l1",
        "utf-16": "utf-16",
        "utf-16-le": "utf-16le",
        "utf-16-be": "utf-16be",
        "koi8-r": "koi8-r",
        "koi8-u": "koi8-u",
        "mac-roman": "macintosh x-mac-roman",
        "gb18030": "gb2312 gbk gb18030 x-gbk gb_2312-80 cp936",
        "big5": "big5 big5-hkscs cn-big5",
        "euc-jp": "euc-jp",
        "iso2022_jp_2": "iso-2022-jp iso-2022-jp-2",
        "cp932": "shift_jis shift-jis sjis windows-31j cp932",
        "cp949": "euc-kr ks_c_5601-1987 ksc5601 cp949 windows-949",
        "iso2022_kr": "iso-2022-kr",
        "cp874": "tis-620 iso-8859-11 windows-874",
        "iso8859-2": "iso-8859-2 latin2",
        "cp1254": "iso-8859-9 latin5 windows-1254",
        **{f"iso8859-{n}": f"iso-8859-{n}" for n in (3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
        **{f"cp{n}": f"windows-{n} cp{n}" for n in (1250, 1251, 1253, 1255, 1256, 1257, 1258)},
        **{f"cp{n}": f"cp{n} ibm{n}" for n in (437, 850, 852, 855, 866)},
    }.items()
    for name in names.split()
}  # fmt: skip
_CODECS[b"iso-8859-8-i"] = "iso8859-8"

# RFC 2047 §2 encoded-word with RFC 2231 §5's language. Spaces inside are wrong and frequent.
_WORD = re.compile(rb"=\?([!-)+-<>@-~]{1,40})(?:\*[A-Za-z0-9-]{0,40})?\?([BbQq])\?([^?\r\n]*+)\?=")
_Q = re.compile(rb"=([0-9A-Fa-f]{2})|_")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


def codec_of(charset: bytes) -> str:
    """The codec for a charset by its MIME name; an unknown one is read as UTF-8."""
    return _CODECS.get(charset.strip().lower(), _FALLBACK)


def decode_octets(octets: bytes, charset: bytes) -> str:
    """Text in a charset by its MIME name; what cannot be read is U+FFFD."""
    return octets.decode(codec_of(charset), "replace")


def decode_words(raw: bytes) -> str:
    """A field body as people read it: encoded words decoded, all else as UTF-8."""
    if b"=?" not in raw:
        return raw.decode("utf-8", "replace")
    return "".join([octets.decode(codec, "replace") for octets, codec in _runs(raw)])


def read_words(raw: bytes) -> str | bytes:
    """The same if all of it is what it says, else its octets without the encoding (RFC 5255 §4.6 a, c)."""
    runs = _runs(raw) if b"=?" in raw else [(raw, _FALLBACK)]
    try:
        return "".join([octets.decode(codec) for octets, codec in runs])
    except UnicodeError:
        return b"".join([octets for octets, _ in runs])


def _runs(raw: bytes) -> list[tuple[bytes, str]]:
    """Octets and their codecs, in order."""
    out: list[tuple[bytes, str]] = []
    pending: list[bytes] = []
    charset = b""
    pos = 0
    for match in _WORD.finditer(raw):
        between = raw[pos : match.start()]
        pos = match.end()
        octets = _word_octets(match[2], match[3])
        # A character may be split over two words of one charset, though §5 (3) forbids it: decode them as one.
        if pending and not between.strip(b" \t\r\n") and match[1].lower() == charset:
            pending.append(octets)
            continue
        out.append((b"".join(pending), codec_of(charset)))
        if between.strip(b" \t\r\n") or not pending:
            out.append((between, _FALLBACK))
        pending, charset = [octets], match[1].lower()
    out.append((b"".join(pending), codec_of(charset)))
    out.append((raw[pos:], _FALLBACK))
    return out


def _word_octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"Qq":
        return _Q.sub(lambda match: b" " if match[1] is None else bytes([int(match[1], 16)]), text)
    digits = _NOT_BASE64.sub(b"", text)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
