"""The keys of return addresses, in one file: lines of hexadecimal digits, the newest first."""

from __future__ import annotations

import binascii
import secrets
from pathlib import Path

from mailserver import api

__all__ = ["load_secrets"]

_OCTETS = 32
_LARGEST = 4096
#: After this long a new key is put before the others; the one before it is believed for as long again.
_LIFE = 90 * 86400.0
_KEPT = 2


def load_secrets(path: Path, now: float) -> list[bytes]:
    """The keys at `path`, the one to use first; made and renewed as needed. Raises StorageFailure."""
    try:
        lines = api.read_file(str(path), _LARGEST).decode("ascii").split()
        found = [binascii.unhexlify(line) for line in lines]
        made = path.stat().st_mtime
    except FileNotFoundError:
        found, made = [], now
    except (OSError, ValueError) as error:
        raise api.StorageFailure(f"{path} cannot be read as keys of return addresses", detail=str(error)) from error
    if any(len(key) < _OCTETS for key in found):
        raise api.StorageFailure(f"{path} has a key that is too short; remove the file to have new ones made")
    if not found or made + _LIFE < now:
        found = [secrets.token_bytes(_OCTETS), *found[: _KEPT - 1]]
        try:
            api.write_durably(str(path), "".join(f"{key.hex()}\n" for key in found).encode("ascii"))
        except OSError as error:
            raise api.StorageFailure(f"{path} cannot be written", detail=str(error)) from error
    return found
