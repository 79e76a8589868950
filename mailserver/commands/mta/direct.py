"""While no server runs: root, and the server's own user, hand a message in under the data's lock."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any, BinaryIO

from mailserver.app import direct
from mailserver.app.load import ConfigurationError, load
from mailserver.app.lock import DataLocked
from mailserver.commands.mta.places import SYSTEM_CONFIG
from mailserver.commands.mta.status import CONFIG, TEMPORARY, Stopped
from mailserver.commands.mta.submit import Order
from mailserver.model.errors import MailError

__all__ = ["run"]


def run(config: str, data: Path, what: Order, body: BinaryIO, later: str) -> Any:
    """The operation's result (`app/handin.py`). `later` is what to say when a server comes up meanwhile."""
    uid = os.geteuid()
    try:
        loaded = load(config or str(SYSTEM_CONFIG))
    except ConfigurationError as error:
        raise Stopped(CONFIG, f"the server's configuration is wrong\n{error}") from None
    try:
        if uid == 0:
            _become_owner(data)
        arguments = {
            "uid": uid, "mail": what.mail, "recipients": [address for address, _ in what.recipients],
            "arguments": [argument for _, argument in what.recipients],
        }  # fmt: skip
        with body:
            return direct.run(loaded, "sendmail", arguments, body)
    except ConfigurationError as error:
        # A key that only the running service has (LoadCredential= of systemd), and the like.
        raise Stopped(TEMPORARY, f"{later}; this program cannot do its work:\n{error}") from None
    except DataLocked:
        raise Stopped(TEMPORARY, later) from None
    except MailError as error:
        raise Stopped(TEMPORARY, f"not sent: {error.for_operator}") from None
    except OSError as error:
        raise Stopped(TEMPORARY, f"not sent: {error.filename or data}: {error.strerror or error}") from None


def _become_owner(data: Path) -> None:
    """What root writes among the server's files, the server could not change."""
    if not data.exists():
        return
    owner = data.stat()
    if owner.st_uid == 0:
        return
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:
        os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
