"""Who runs this command."""

from __future__ import annotations

import os
import pwd

__all__ = ["operator"]


def operator() -> str:
    """The name of whoever became root for this by sudo(8) or doas(1), else of the user that this process runs as."""
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    return (os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER") or name)[:100]
