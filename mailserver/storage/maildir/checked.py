"""Small text files with a checksum: `<kind> 1`, lines of `key value`, and last `sum <sha256>` of all above it."""

from __future__ import annotations

import errno
import hashlib

from mailserver.net import files

__all__ = ["Damaged", "is_of_the_file", "read_checked", "write_checked"]

MAX_SIZE = 1 << 20


class Damaged(Exception):
    """The file is there and is not what was written."""


def is_of_the_file(error: OSError) -> bool:
    """Is it the file that is bad? Without descriptors or memory, or without permission, a good one is not read either,
    and nothing must be written in its place."""
    return error.errno in (errno.EIO, errno.EFBIG)


def write_checked(path: str, kind: str, fields: dict[str, str]) -> None:
    """Replace the file durably. Keys have no space; values are one line each."""
    text = "".join([f"{kind} 1\n", *(f"{key} {value}\n" for key, value in fields.items())])
    body = text.encode("utf-8", "surrogateescape")
    files.write_durably(path, body + b"sum %b\n" % hashlib.sha256(body).hexdigest().encode())


def read_checked(path: str, kind: str) -> dict[str, str]:
    """The fields. Raises FileNotFoundError, Damaged, and any other OSError, which says nothing about the file."""
    try:
        data = files.read_file(path, MAX_SIZE)
    except OSError as error:
        if is_of_the_file(error):
            raise Damaged(str(error)) from error
        raise
    body, mark, digest = data.rpartition(b"sum ")
    if not mark or digest != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise Damaged(f"the checksum of {path} is wrong")
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    if lines[0] != f"{kind} 1":
        raise Damaged(f"{path} is of another kind or version")
    return dict(line.split(" ", 1) for line in lines[1:] if " " in line)
