"""Every setting does something: one that nobody reads would be a lie in config.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from mailserver.app.config import Config
from mailserver.plugins import BUILT_IN

PACKAGE = Path(__file__).parents[2] / "mailserver"
SOURCES = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def settings() -> Iterator[tuple[str, str]]:
    for section, info in Config.model_fields.items():
        model = info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((f"{section}.{name}", name) for name in model.model_fields)
        else:
            yield section, section
    for plugin in BUILT_IN.values():
        yield from ((f"plugins.{plugin.name}.{name}", name) for name in plugin.settings.model_fields)


@pytest.mark.parametrize(("key", "name"), sorted(settings()))
def test_each_setting_is_read_somewhere(key: str, name: str) -> None:
    pattern = re.compile(rf"\.{name}\b")
    used = any(pattern.search(text) for path, text in SOURCES.items() if not path.name.endswith("settings.py"))
    assert used, f"nobody reads {key}"
