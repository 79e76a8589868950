"""config.toml is made from the settings; these tests hold the file and the settings together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mailserver.app.config import DEFAULT_PLUGIN_ORDER, Config
from mailserver.app.example import default_file
from mailserver.app.load import load
from mailserver.app.plugins import plugins_of
from mailserver.plugins import BUILT_IN

REPOSITORY = Path(__file__).parents[3]


def test_the_file_is_what_the_settings_say() -> None:
    shipped = (REPOSITORY / "config.toml").read_text(encoding="utf-8")
    assert shipped == default_file(BUILT_IN), "run: python cli.py config > config.toml"


def test_every_setting_is_there_at_its_default_with_a_comment() -> None:
    text = default_file(BUILT_IN)
    parsed = tomllib.loads(text)
    parsed.pop("plugins")
    assert Config.model_validate(parsed) == Config()
    assert set(parsed) == set(Config.model_fields) - {"domains", "plugins", "smarthosts"}
    for name, info in Config.model_fields.items():
        assert info.description, name
        for key, field in getattr(info.annotation, "model_fields", {}).items():
            assert field.description, f"{name}.{key}"
            assert key in parsed[name], f"{name}.{key}"


def test_it_loads_as_it_is_with_all_plugins(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(default_file(BUILT_IN), encoding="utf-8")
    loaded = load(str(file))
    plugins, problems = plugins_of(loaded.document, loaded.config.plugin_order)
    assert problems == []
    assert [plugin.name for plugin in plugins] == DEFAULT_PLUGIN_ORDER == list(BUILT_IN)
    for plugin in plugins:
        assert plugin.settings == BUILT_IN[plugin.name].settings()


def test_the_examples_are_valid_once_they_are_in_force(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    in_force = "\n".join(
        line[1:] if line.startswith("#") and line[1:2] not in (" ", "") else line
        for line in default_file(BUILT_IN).splitlines()
    )
    file.write_text(in_force, encoding="utf-8")
    loaded = load(str(file))
    assert list(loaded.config.domains) == ["example.org"]
    assert list(loaded.config.smarthosts) == ["example"]
    _, problems = plugins_of(loaded.document, loaded.config.plugin_order)
    assert [problem.key for problem in problems] == ["plugins.example"]


@pytest.mark.parametrize("name", ["hostname", "data_dir"])
def test_top_level_settings_stand_before_the_first_section(name: str) -> None:
    text = default_file(BUILT_IN)
    assert text.index(f"\n{name} = ") < text.index("\n[")
