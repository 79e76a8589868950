"""`mailserver-url-keys`: an account's mailbox access keys (RFC 4467 §2.3), by MAILBOXID. In threads.

A key is made when the first URL of its mailbox is authorized, and revokes them all when it goes.
A damaged file has none.
"""

from __future__ import annotations

import structlog

from mailserver.net import files
from mailserver.storage.maildir.checked import Damaged, read_checked, write_checked

__all__ = ["URL_KEYS", "load_url_keys", "save_url_keys"]

URL_KEYS = "mailserver-url-keys"

_log = structlog.get_logger()


def load_url_keys(account: str) -> dict[str, bytes]:
    """The keys by MAILBOXID. Raises OSError."""
    try:
        fields = read_checked(f"{account}/{URL_KEYS}", URL_KEYS)
        return {mailbox_id: bytes.fromhex(key) for mailbox_id, key in fields.items() if mailbox_id != "sum"}
    except FileNotFoundError:
        return {}
    except (Damaged, ValueError) as error:
        _log.warning("storage.url_keys_damaged", path=account, error=str(error))
        return {}


def save_url_keys(account: str, keys: dict[str, bytes]) -> None:
    """Replace the file durably. Raises OSError."""
    if keys:
        write_checked(f"{account}/{URL_KEYS}", URL_KEYS, {name: key.hex() for name, key in sorted(keys.items())})
    elif files.remove_file(f"{account}/{URL_KEYS}"):
        files.fsync_dir(account)
