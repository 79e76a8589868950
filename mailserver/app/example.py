"""config.toml as it is shipped: every setting at its default, under its description; made from the settings classes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from mailserver.app.config import Config
from mailserver.hooks.settings import Settings
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
_TABLES = ("domains", "plugins")


def default_file(plugins: Mapping[str, type[Settings]]) -> str:
    """The text of config.toml; `plugins` are those that come with the server, with their settings."""
    out = [_HEAD]
    sections = []
    for name, info in Config.model_fields.items():
        if name in _TABLES:
            continue
        if isinstance(info.default, BaseModel):
            sections.append((name, info))
        else:
            out.append(_setting(name, info))
    out.append(_domains())
    for name, info in sections:
        out.append(f"{_comment(info.description)}\n[{name}]\n\n" + "\n".join(_settings(type(info.default))))
    for name, model in plugins.items():
        out.append(_plugin(name, model))
    return "\n".join(part.rstrip("\n") + "\n" for part in out)


def _settings(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield _setting(name, info)


def _setting(name: str, info: FieldInfo) -> str:
    return f"{_comment(info.description)}\n{name} = {_toml(_plain(info))}\n"


def _plain(info: FieldInfo) -> Any:
    """The default as it is written in a file: durations and sizes with their units."""
    value = info.get_default(call_default_factory=True)
    holder = create_model("Holder", __base__=Settings, value=(info.annotation, info))
    return holder.model_construct(value=value).model_dump()["value"]


def _comment(text: str | None) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text or "", _WIDTH))


def _domains() -> str:
    body = "\n".join(_settings(DomainSettings))
    info = Config.model_fields["domains"]
    lines = f'{_comment(info.description)}\n[domains."example.org"]\n\n{body}'
    return "\n".join(line if line.startswith("#") or not line else f"# {line}" for line in lines.split("\n"))


def _plugin(name: str, model: type[Settings]) -> str:
    doc = " ".join((model.__doc__ or "").split())
    body = "\n".join(_settings(model))
    return f"{_comment(doc)}\n[plugins.{name}]\n\n# Whether this plugin is used.\nenabled = true\n\n{body}"


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
