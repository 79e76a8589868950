"""config.toml as it is shipped: every setting at its default, under its description; made from the settings classes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mailserver.app.config import Config
from mailserver.hooks.loading import CommonSettings
from mailserver.hooks.plugin import Plugin
from mailserver.outbound.settings import SmarthostSettings
from mailserver.storage.directory_settings import DomainSettings

__all__ = ["default_file"]

_WIDTH = 110
_HEAD = """\
# The configuration of mailserver. Every setting is here at its default: the server starts with this file as it is,
# and a line that you delete keeps its value. After a change: mailserver check, then send SIGHUP (systemctl reload
# mailserver) or restart; the server refuses a file with mistakes and says where they are.
#
# Durations are written "500ms", "30s", "5m", "2h", "5d", "1w"; sizes in octets, or "64KiB", "50MiB", "2GiB".
"""
_TABLES = ("domains", "plugins", "smarthosts")


def default_file(plugins: Mapping[str, Plugin]) -> str:
    """The text of config.toml; `plugins` are those that come with the server, by name."""
    out = [_HEAD]
    values = Config().model_dump()
    sections = []
    for name, info in Config.model_fields.items():
        if name in _TABLES:
            continue
        if isinstance(info.default, BaseModel):
            sections.append((name, info))
        else:
            out.append(_setting(name, info, values[name]))
    out.append(_table("domains", "example.org", DomainSettings))
    for name, info in sections:
        out.append(f"{_comment(info.description)}\n[{name}]\n\n" + "\n".join(_settings(type(info.default))))
    out.append(_table("smarthosts", "example", SmarthostSettings))
    out.append(_common())
    for name, plugin in plugins.items():
        out.append(_plugin(name, plugin))
    return "\n".join(part.rstrip("\n") + "\n" for part in out)


def _settings(model: type[BaseModel]) -> Iterator[str]:
    # Dumped, because durations and sizes are written with their units.
    values = model.model_construct().model_dump()
    for name, info in model.model_fields.items():
        yield _setting(name, info, values[name] if name in values else (info.examples or [""])[0])


def _setting(name: str, info: FieldInfo, value: Any) -> str:
    return f"{_comment(info.description)}\n{name} = {_toml(value)}\n"


def _comment(text: str | None) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text or "", _WIDTH))


def _table(name: str, key: str, model: type[BaseModel]) -> str:
    """A section that stands once for each of its kind."""
    info = Config.model_fields[name]
    head = _comment(f"{info.description} Lines that begin with # alone are examples: they are not in force.")
    shown = f'"{key}"' if "." in key else key
    return f"{head}\n#[{name}.{shown}]\n\n" + "\n".join(_examples(model))


def _common() -> str:
    head = _comment(
        "Every plugin has a section [plugins.<name>] with its own settings and these. A plugin that did not come with"
        " the server is found by its file, or as an installed package of that name."
    )
    return f"{head}\n#[plugins.example]\n\n" + "\n".join(_examples(CommonSettings))


def _examples(model: type[BaseModel]) -> Iterator[str]:
    """Settings that are not in force."""
    for line in _settings(model):
        yield "\n".join(part if part.startswith("#") or not part else f"#{part}" for part in line.split("\n"))


def _plugin(name: str, plugin: Plugin) -> str:
    enabled = _setting("enabled", CommonSettings.model_fields["enabled"], True)
    return f"{_comment(plugin.doc)}\n[plugins.{name}]\n\n{enabled}\n" + "\n".join(_settings(plugin.settings))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
