"""`mailserver-metadata` in a folder, `mailserver-account-metadata` in an account: annotations (RFC 5464).

Files of their own, because that of the folder's numbers is written for every block of UIDs, and they may be large. One
line for an entry: its name, percent-encoded, and its value in base64. All of it in threads.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from urllib.parse import quote, unquote

import structlog

from mailserver.model.errors import InvalidInput
from mailserver.model.metadata import Annotations, entry_name
from mailserver.net import files
from mailserver.storage.maildir.checked import Damaged, read_checked, write_checked

__all__ = [
    "ACCOUNT_METADATA", "METADATA", "load_annotations", "put_damaged_aside", "read_annotations", "save_annotations",
]  # fmt: skip

METADATA = "mailserver-metadata"
ACCOUNT_METADATA = "mailserver-account-metadata"

_log = structlog.get_logger()


def read_annotations(path: str) -> dict[str, bytes]:
    """The annotations of a file; none when it is missing. Raises Damaged, OSError."""
    try:
        fields = read_checked(path, os.path.basename(path))
    except FileNotFoundError:
        return {}
    try:
        return {
            entry_name(unquote(name), whole=True): base64.b64decode(value, validate=True)
            for name, value in fields.items()
            if name != "sum"
        }
    except (InvalidInput, binascii.Error, ValueError) as error:
        raise Damaged(f"an entry of {path} is wrong: {error}") from error


def load_annotations(path: str) -> dict[str, bytes]:
    """As `read_annotations`; a damaged file has none. Raises OSError."""
    try:
        return read_annotations(path)
    except Damaged as error:
        _log.warning("storage.metadata_damaged", path=path, error=str(error))
        return {}


def put_damaged_aside(path: str) -> None:
    """Give a file that cannot be read another name: somebody may still want to see what was in it. Raises OSError."""
    try:
        read_annotations(path)
    except Damaged:
        os.rename(path, f"{path}.{secrets.token_hex(4)}.damaged")


def save_annotations(path: str, annotations: Annotations) -> None:
    """Replace the file durably. Raises OSError."""
    put_damaged_aside(path)
    fields = {quote(name, safe="/"): base64.b64encode(value).decode() for name, value in sorted(annotations.items())}
    if fields:
        write_checked(path, os.path.basename(path), fields)
    elif files.remove_file(path):
        files.fsync_dir(os.path.dirname(path))
