"""What a plugin is: a name, a settings class, and `setup`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mailserver.hooks.settings import Settings
from mailserver.model.events import Event
from mailserver.ports.clock import Clock
from mailserver.ports.directory import Directory
from mailserver.ports.passwords import FailedLogins, PasswordVerifier
from mailserver.ports.queue import MailQueue
from mailserver.ports.resolver import Resolver
from mailserver.ports.store import MailStore
from mailserver.ports.web import WebClient

if TYPE_CHECKING:
    from mailserver.hooks.registry import Registry

__all__ = ["Host", "Plugin", "PluginSettings"]


class PluginSettings(Settings):
    """The base of a plugin's settings; what every plugin has is read from its section before this class sees it.

    `enabled`, `file`, `on_error`, `timeout` and `domains` belong to the mechanism and are not fields here.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the server offers to a plugin while it is set up; hooks themselves only get their context.

    `emit` tells all observers of an event; it never blocks.
    """

    hostname: str
    data_dir: Path
    directory: Directory
    store: MailStore
    queue: MailQueue
    clock: Clock
    passwords: PasswordVerifier
    failed_logins: FailedLogins
    resolver: Resolver
    web: WebClient
    trusted: tuple[str, ...] = ()
    emit: Callable[[Event], None] = lambda event: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin: module-level value `plugin` of a file, or of an entry point in the group `mailserver.plugins`.

    `setup(registry, settings, host)` is an async context manager: it registers hooks, yields, and cleans up. `timeout`
    (seconds) is how long a call of a hook may take, and `on_error` what follows when one fails ("defer": 451; "skip":
    it goes on without this plugin's opinion), unless the configuration says otherwise.
    """

    name: str
    setup: Callable[[Registry, Any, Host], AbstractAsyncContextManager[None]]
    settings: type[Settings] = PluginSettings
    doc: str = ""
    timeout: float = 10.0
    on_error: Literal["defer", "skip"] = "defer"


Setup = AsyncIterator[None]
