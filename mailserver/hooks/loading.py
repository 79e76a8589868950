"""From the sections `[plugins.…]` to plugins in use: find, check, import, set up, put in place, take down.

A plugin comes with the server, from a file (`file = "x.py"`), or from an installed package's entry point in the group
`mailserver.plugins`. It runs with all rights of the server, so a file that others could change is not loaded (ATTACKS
N08).
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, Literal

from pydantic import Field, ValidationError

from mailserver.hooks.calling import place_of_error
from mailserver.hooks.plugin import Plugin
from mailserver.hooks.registry import HookOptions, OnError
from mailserver.hooks.settings import Duration, Settings
from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput

__all__ = ["ENTRY_POINTS", "CommonSettings", "LoadedPlugin", "PluginProblem", "read_plugins"]

ENTRY_POINTS = "mailserver.plugins"


class CommonSettings(Settings):
    """What every section [plugins.<name>] may have, beside the plugin's own settings."""

    enabled: bool = Field(True, description="Whether this plugin is used.")
    file: str = Field("", description="Python file of the plugin, relative to the configuration file.")
    on_error: Literal["defer", "skip"] = Field(
        "defer",
        description="When the plugin fails: defer answers 451, nothing is lost; skip goes on as if it were not there."
        " Unless it is set: defer, or skip for a plugin that only has an opinion among others (such as bayes).",
    )
    timeout: Duration = Field(
        10.0, gt=0, le=600,
        description="The longest that one call of the plugin may take. Without it: 10s, or more for a plugin that asks"
        " other servers.",
    )  # fmt: skip
    domains: list[str] = Field(
        [], description="Domains or addresses of accounts that it is limited to. Empty: it is asked for all."
    )


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """What is wrong with a section: the path of the key, and words for the operator."""

    path: tuple[str | int, ...]
    text: str
    #: The details, when settings do not fit their types.
    validation: ValidationError | None = None


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin ready to be set up. `source` is "built in", "package" or the path of its file."""

    plugin: Plugin
    options: HookOptions
    settings: Settings
    source: str

    @property
    def name(self) -> str:
        """The name of its section."""
        return self.options.plugin


def read_plugins(
    sections: Mapping[str, Any], order: Sequence[str], built_in: Mapping[str, Plugin], directory: Path
) -> tuple[list[LoadedPlugin], list[PluginProblem]]:
    """All enabled plugins in the order in which they are asked, and everything that is wrong.

    Args:
        sections: `[plugins]` as parsed from TOML.
        order: `plugin_order`; plugins that it does not name follow in order of appearance, built-in ones first.
        built_in: what comes with the server, by name; enabled unless its section says otherwise.
        directory: what relative paths of `file` are relative to.
    """
    loaded: list[LoadedPlugin] = []
    problems: list[PluginProblem] = []
    for name in dict.fromkeys((*order, *built_in, *sections)):
        section = sections.get(name, {})
        if not isinstance(section, Mapping):
            problems.append(PluginProblem(("plugins", name), "must be a table of its own"))
            continue
        plugin = _read_plugin(name, section, built_in, directory, problems)
        if plugin is not None:
            loaded.append(plugin)
    return loaded, problems


def _read_plugin(
    name: str,
    section: Mapping[str, Any],
    built_in: Mapping[str, Plugin],
    directory: Path,
    problems: list[PluginProblem],
) -> LoadedPlugin | None:
    path = ("plugins", name)
    common_keys = {key: value for key, value in section.items() if key in CommonSettings.model_fields}
    try:
        common = CommonSettings.model_validate(common_keys)
    except ValidationError as error:
        problems.append(PluginProblem(path, "the settings do not fit", error))
        return None
    if not common.enabled:
        return None
    limited_to = _domains(common.domains, path, problems)
    try:
        plugin, source = _find(name, common.file, built_in, directory)
    except _NotLoadedError as error:
        problems.append(PluginProblem((*path, "file") if common.file else path, str(error)))
        return None
    try:
        settings = plugin.settings.model_validate({k: v for k, v in section.items() if k not in common_keys})
    except ValidationError as error:
        problems.append(PluginProblem(path, "the settings do not fit", error))
        return None
    options = HookOptions(
        plugin=name, domains=limited_to,
        on_error=OnError(common.on_error if "on_error" in common.model_fields_set else plugin.on_error),
        timeout=common.timeout if "timeout" in common.model_fields_set else plugin.timeout,
    )  # fmt: skip
    return LoadedPlugin(plugin, options, settings, source)


def _domains(
    written: Sequence[str], path: tuple[str, ...], problems: list[PluginProblem]
) -> frozenset[str] | None:
    names = set[str]()
    for number, name in enumerate(written):
        try:
            names.add(EmailAddress.parse(name).key if "@" in name else normalize_domain(name))
        except InvalidInput as error:
            problems.append(PluginProblem((*path, "domains", number), error.text))
    return frozenset(names) if written else None


class _NotLoadedError(Exception):
    """The plugin cannot be had; the text says why, for the operator."""


def _find(name: str, file: str, built_in: Mapping[str, Plugin], directory: Path) -> tuple[Plugin, str]:
    if file:
        path = directory / file
        return _checked(_from_file(name, path)), str(path)
    if name in built_in:
        return built_in[name], "built in"
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        try:
            return _checked(entry.load()), "package"
        except (Exception, SystemExit) as error:
            raise _NotLoadedError(f"{entry.value} cannot be imported: {place_of_error(error)}: {error}") from error
    raise _NotLoadedError(
        f"there is no plugin {name}: neither built in nor installed; name its file with file = \"{name}.py\""
    )


def _checked(plugin: object) -> Plugin:
    if not isinstance(plugin, Plugin):
        raise _NotLoadedError("it has no value `plugin` of the class mailserver.api.Plugin")
    return plugin


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles what stands in the file now: byte code of the same second would hide an edit, and litter the folder."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the module."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _from_file(name: str, path: Path) -> object:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise _NotLoadedError(f"there is no file {path}") from None
    _check_permissions(real)
    module_name = f"mailserver_plugins.{name}"
    loader = _FreshLoader(module_name, str(real))
    spec = importlib.util.spec_from_loader(module_name, loader)
    if spec is None:
        raise _NotLoadedError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(module_name)
    # Dataclasses and pydantic look their module up by name while it is being executed.
    sys.modules[module_name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[module_name]
        else:
            sys.modules[module_name] = before
        raise _NotLoadedError(f"{path} cannot be loaded: {place_of_error(error)}: {error}") from error
    return getattr(module, "plugin", None)


def _check_permissions(real: Path) -> None:
    """Only we, root and our own group may be able to change the file or to put another in its place."""
    if not stat.S_ISREG(os.stat(real).st_mode):
        raise _NotLoadedError(f"{real} is not a file")
    for place in (real, *real.parents):
        status = os.stat(place)
        # In a sticky directory others cannot replace what is not theirs; the plugin's own folder must not be open at
        # all.
        sticky = bool(status.st_mode & stat.S_ISVTX) and place not in (real, real.parent)
        if status.st_mode & stat.S_IWOTH and not sticky:
            raise _NotLoadedError(f"{place} can be written by everyone (chmod o-w)")
        if place not in (real, real.parent):
            continue
        if status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid()):
            raise _NotLoadedError(f"{place} can be written by another group (chmod g-w)")
        if status.st_uid not in (0, os.geteuid()):
            raise _NotLoadedError(f"{place} belongs to another user")
