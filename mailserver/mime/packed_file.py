"""The one file in an attachment that was packed with gzip or zip (RFC 1952), or not at all. Nothing is written: names
in an archive have no meaning (ATTACKS L14)."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

__all__ = ["BadFile", "unpack"]

_GZIP, _ZIP = b"\x1f\x8b", b"PK"
_ANY_GZIP = 31
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip


class BadFile(Exception):
    """The words say what is wrong with it."""


def unpack(octets: bytes, most: int) -> bytes:
    """What is in it, `most` octets at most. Raises BadFile, also for archives in archives."""
    if octets.startswith(_GZIP):
        found = _gunzip(octets, most)
    elif octets.startswith(_ZIP):
        found = _unzip(octets, most)
    else:
        found = octets
    if len(found) > most:
        raise BadFile(f"it has more than {most} octets")
    if found.startswith((_GZIP, _ZIP)):
        raise BadFile("it is an archive within an archive")
    return found


def _gunzip(octets: bytes, most: int) -> bytes:
    unpacking = zlib.decompressobj(_ANY_GZIP)
    try:
        found = unpacking.decompress(octets, most + 1)
    except zlib.error:
        raise BadFile("it is not gzip") from None
    if not unpacking.eof and len(found) <= most:
        raise BadFile("it is cut off")
    return found


def _unzip(octets: bytes, most: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            files = archive.infolist()
            if len(files) != 1:
                raise BadFile(f"the archive holds {len(files)} files and not one")
            (info,) = files
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _KINDS:
                raise BadFile("the archive is encrypted, or packed in a way that is not usual")
            with archive.open(info) as file:
                return file.read(most + 1)
    except _BROKEN:
        raise BadFile("the archive is broken") from None
