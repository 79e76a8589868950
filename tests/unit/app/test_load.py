from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.app.config import Config
from mailserver.app.load import ConfigurationError, find, load, read, validate

BAD = Path(__file__).parents[2] / "config" / "bad"


@pytest.mark.parametrize("name", sorted(path.stem for path in BAD.glob("*.toml")))
def test_each_bad_file_gives_exactly_its_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    expected = (BAD / f"{name}.txt").read_text(encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        loaded, problems = validate(read(Path(f"{name}.toml")))
        assert loaded is None
        raise ConfigurationError(problems)
    assert f"{caught.value}\n" == expected


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.touch()
    loaded = load(str(file))
    assert loaded.config == Config(data_dir=str(tmp_path / "maildir"))


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "config.toml").write_text(
        'data_dir = "../data"\n[tls]\ncert_file = "a.pem"\nkey_file = "/b.pem"\n'
    )
    monkeypatch.chdir(tmp_path)
    loaded = load("etc/config.toml")
    assert loaded.data_dir == tmp_path / "data"
    assert loaded.config.tls.cert_file == str(tmp_path / "etc" / "a.pem")
    assert loaded.config.tls.key_file == "/b.pem"


def test_no_file_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"no config.toml and no /etc/mailserver/config.toml; name one with --config"
    ):
        find(None)
    with pytest.raises(ConfigurationError, match=r"missing\.toml: there is no such file"):
        find("missing.toml")


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"# one\n# two \xff\n")
    with pytest.raises(ConfigurationError) as caught:
        read(file)
    assert str(caught.value) == f"{file}:2: is not UTF-8 text"


def test_values_never_show_in_errors(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[tls]\nkey_file = ["hunter2-canary"]\n[plugins]\nx = "hunter2-canary"\n[auth]\nscram = "hunter2-canary"\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        load(str(file))
    assert len(caught.value.problems) == 3
    assert "hunter2" not in str(caught.value)
