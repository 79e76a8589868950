"""Where a command's work is done: by the running server through its admin socket, else here under the data's lock.

Either way it is the same operation (`app/operations.py`), and there is never a second writer.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from mailserver.app.load import ConfigurationError, Loaded, load
from mailserver.app.lock import DataLocked, is_locked
from mailserver.app.paths import control_link, control_socket
from mailserver.commands.options import ConfigurationFailed, Failed, named_config
from mailserver.model.errors import MailError
from mailserver.net.control_client import ControlRefused, ControlUnreachable, call

__all__ = ["load_configuration", "perform"]


def load_configuration() -> Loaded:
    """The configuration of --config, or the default one. Raises ConfigurationFailed with all problems."""
    try:
        return load(named_config())
    except ConfigurationError as error:
        raise ConfigurationFailed(str(error)) from None


def perform(operation: str, arguments: Mapping[str, Any], body: BinaryIO | None = None) -> Any:
    """Run an operation and return its JSON value; `body` is a seekable file. Raises Failed, ConfigurationFailed."""
    loaded = load_configuration()
    try:
        if is_locked(loaded.data_dir):
            return _remote(loaded, operation, arguments, body)
        # The whole server is imported only here, where nobody else can do the work.
        direct = importlib.import_module("mailserver.app.direct")
        return direct.run(loaded, operation, arguments, body)
    except DataLocked as error:
        raise Failed(f"{error} (it does not answer at its admin socket: is it starting or stopping?)") from None
    except ConfigurationError as error:
        raise ConfigurationFailed(str(error)) from None
    except MailError as error:
        raise Failed(error.for_operator) from None
    except ValueError as error:
        raise Failed(str(error)) from None
    except OSError as error:
        raise Failed(f"{error.filename or loaded.data_dir}: {error.strerror or error}") from None


def _remote(loaded: Loaded, operation: str, arguments: Mapping[str, Any], body: BinaryIO | None) -> Any:
    runtime, link = control_socket(loaded.data_dir, os.environ), control_link(loaded.data_dir)
    try:
        return call(runtime if runtime.exists() else link, operation, arguments, body)
    except ControlRefused as error:
        raise Failed(str(error)) from None
    except ControlUnreachable as error:
        hint = "the server runs, but its admin socket does not answer (is it starting, stopping, or another user's?)"
        raise Failed(f"{error}: {hint}") from None
