"""From sections to running plugins; ATTACKS N08 for files that others could change."""

from __future__ import annotations

import asyncio
import os
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailserver.hooks import running as running_module
from mailserver.hooks.contexts import ConnectContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.loading import LoadedPlugin, PluginProblem, read_plugins
from mailserver.hooks.registry import OnError
from mailserver.hooks.running import PluginSetupFailed, RunningPlugins
from mailserver.model.verdict import ACCEPT, Reject
from mailserver.plugins import BUILT_IN
from tests.helpers.plugins import make_host, make_session

CONNECT = ConnectContext(session=make_session())

PLUGIN = """
from __future__ import annotations
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pydantic import Field
from mailserver.api import *

class Greeting(PluginSettings):
    word: str = Field("hello", description="x")

@dataclass(frozen=True)
class Probe:
    n: int = 0

@asynccontextmanager
async def setup(registry, settings, host):
    registry.on_connect(lambda ctx: Reject(Reply(554, "5.7.1", settings.word)))
    yield

plugin = Plugin(name="x", setup=setup, settings=Greeting)
"""


def write(tmp_path: Path, text: str, name: str = "x.py") -> Path:
    path = tmp_path / name
    path.write_text(textwrap.dedent(text))
    return path


def read(
    tmp_path: Path, sections: dict[str, Any], order: tuple[str, ...] = ()
) -> tuple[list[LoadedPlugin], list[PluginProblem]]:
    return read_plugins(sections, order, {}, tmp_path)


async def greeting(hooks: Hooks) -> str:
    verdict = await hooks.connect(CONNECT)
    return verdict.reply.text if isinstance(verdict, Reject) else ""


def test_a_plugin_says_how_long_its_calls_may_take(tmp_path: Path) -> None:
    patient = replace(BUILT_IN["aliases"], timeout=75.0)
    sections: list[tuple[dict[str, Any], float]] = [({}, 75.0), ({"timeout": "10s"}, 10.0)]
    for section, expected in sections:
        loaded, problems = read_plugins({"aliases": section}, (), {"aliases": patient}, tmp_path)
        assert not problems and loaded[0].options.timeout == expected


def test_a_failing_check_that_only_has_an_opinion_holds_up_no_mail(tmp_path: Path) -> None:
    """What a forger gains from a check that fails is deferred: dkim_verify, dmarc, junk."""
    given: dict[str, dict[str, Any]] = {name: {} for name in BUILT_IN}
    loaded, problems = read_plugins(given, (), BUILT_IN, tmp_path)
    assert not problems
    skipped = {one.options.plugin for one in loaded if one.options.on_error is OnError.SKIP}
    assert skipped == {"bayes", "dnsbl", "greylist", "iprev", "phishing", "reputation", "vacation"}
    loaded, _ = read_plugins({"bayes": {"on_error": "defer"}}, (), BUILT_IN, tmp_path)
    assert loaded[0].options.on_error is OnError.DEFER


async def test_a_file_is_loaded_set_up_and_taken_down(tmp_path: Path) -> None:
    write(tmp_path, PLUGIN)
    loaded, problems = read(tmp_path, {"x": {"file": "x.py", "word": "ahoy", "on_error": "skip", "timeout": "2s"}})
    assert problems == []
    assert (loaded[0].options.on_error, loaded[0].options.timeout) == (OnError.SKIP, 2.0)
    hooks = Hooks()
    plugins = RunningPlugins(hooks, make_host())
    await plugins.start(loaded)
    assert await greeting(hooks) == "ahoy"
    assert [one.name for one in plugins.loaded] == ["x"]
    await plugins.start([])
    assert await hooks.connect(CONNECT) is ACCEPT
    assert not (tmp_path / "__pycache__").exists()


async def test_a_reload_sees_an_edit_of_the_same_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    path = write(tmp_path, PLUGIN)
    hooks = Hooks()
    plugins = RunningPlugins(hooks, make_host())
    for word in ("hello", "howdy"):
        path.write_text(PLUGIN.replace("hello", word))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        loaded, _ = read(tmp_path, {"x": {"file": "x.py"}})
        await plugins.start(loaded)
        assert await greeting(hooks) == word
    await plugins.aclose()


def test_order_is_that_of_the_setting_then_of_appearance(tmp_path: Path) -> None:
    write(tmp_path, PLUGIN)
    sections = {name: {"file": "x.py"} for name in ("c", "b", "a")} | {"aliases": {"enabled": False}}
    loaded, problems = read_plugins(sections, ["b", "accounts"], BUILT_IN, tmp_path)
    assert problems == []
    others = [name for name in BUILT_IN if name not in ("accounts", "aliases")]
    assert [one.name for one in loaded] == ["b", "accounts", *others, "c", "a"]
    assert [one.source for one in loaded][1:3] == ["built in", "built in"]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, PLUGIN)
    write(tmp_path, "1 / 0", "broken.py")
    write(tmp_path, "import sys; sys.exit(3)", "exits.py")
    write(tmp_path, "plugin = 3", "odd.py")
    loaded, problems = read(
        tmp_path,
        {
            "missing": {},
            "nofile": {"file": "nofile.py"},
            "folder": {"file": "."},
            "broken": {"file": "broken.py"},
            "exits": {"file": "exits.py"},
            "odd": {"file": "odd.py"},
            "typed": {"file": "x.py", "word": 3},
            "unknown": {"file": "x.py", "wrod": "x"},
            "common": {"file": "x.py", "timeout": "soon"},
            "where": {"file": "x.py", "domains": ["example.test", "not a domain"]},
            "table": 3,
        },
        ("absent",),
    )
    assert [one.name for one in loaded] == ["where"]
    assert [problem.path[1] for problem in problems] == [
        "absent", "missing", "nofile", "folder", "broken", "exits", "odd", "typed", "unknown", "common", "where",
        "table",
    ]  # fmt: skip
    texts = {str(problem.path[1]): problem.text for problem in problems}
    assert "ZeroDivisionError at broken.py:1" in texts["broken"]
    assert "there is no plugin absent" in texts["absent"]
    assert [str(p.path[1]) for p in problems if p.validation is not None] == ["typed", "unknown", "common"]
    assert problems[-2].path == ("plugins", "where", "domains", 1)


def test_limits_to_domains_are_normalized(tmp_path: Path) -> None:
    write(tmp_path, PLUGIN)
    loaded, _ = read(tmp_path, {"x": {"file": "x.py", "domains": ["Example.TEST", "Anna@Example.test"]}})
    assert loaded[0].options.domains == frozenset({"example.test", "anna@example.test"})


@pytest.mark.parametrize("place", ["file", "folder", "above"])
def test_n08_what_everyone_may_write_is_not_loaded(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "above" / "plugins"
    folder.mkdir(parents=True, mode=0o755)
    marker = tmp_path / "executed"
    path = write(folder, f"open({str(marker)!r}, 'w').close()")
    {"file": path, "folder": folder, "above": folder.parent}[place].chmod(0o777)
    loaded, problems = read(tmp_path, {"x": {"file": "above/plugins/x.py"}})
    assert loaded == []
    assert "can be written by everyone" in problems[0].text
    assert not marker.exists()


@pytest.mark.parametrize("place", ["file", "folder"])
def test_n08_what_another_group_may_write_is_not_loaded(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    path = write(folder, PLUGIN)
    (path if place == "file" else folder).chmod(0o775)
    group = path.stat().st_gid
    assert read(tmp_path, {"x": {"file": "plugins/x.py"}})[1] == []
    if group == 0:
        os.chown(path, -1, 12345)
        os.chown(folder, -1, 12345)
    else:
        monkeypatch.setattr(os, "getegid", lambda: group + 1)
    loaded, problems = read(tmp_path, {"x": {"file": "plugins/x.py"}})
    assert loaded == []
    assert "can be written by another group" in problems[0].text


def test_n08_a_link_into_an_open_folder_is_not_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    write(folder, PLUGIN)
    folder.chmod(0o1777)
    (tmp_path / "x.py").symlink_to(folder / "x.py")
    loaded, problems = read(tmp_path, {"x": {"file": "x.py"}})
    assert loaded == []
    assert "can be written by everyone" in problems[0].text


SETUPS = {
    "raises": "raise ValueError('no database')\n    yield",
    "exits": "import sys; sys.exit(3)\n    yield",
    "hangs": "import asyncio; await asyncio.Event().wait()\n    yield",
    "ends": "return\n    yield",
}


@pytest.mark.parametrize("how", SETUPS)
async def test_n08_a_failed_set_up_changes_nothing(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_module, "SETUP_TIME", 0.05)
    write(tmp_path, PLUGIN)
    write(
        tmp_path,
        f"""
from contextlib import asynccontextmanager
from mailserver.api import *

@asynccontextmanager
async def setup(registry, settings, host):
    {SETUPS[how]}

plugin = Plugin(name="bad", setup=setup)
""",
        "bad.py",
    )
    hooks = Hooks()
    plugins = RunningPlugins(hooks, make_host())
    good, _ = read(tmp_path, {"x": {"file": "x.py"}})
    await plugins.start(good)
    both, problems = read(tmp_path, {"x": {"file": "x.py", "word": "new"}, "bad": {"file": "bad.py"}})
    assert problems == []
    with pytest.raises(PluginSetupFailed, match="plugin bad could not be set up"):
        await plugins.start(both)
    assert await greeting(hooks) == "hello"
    await plugins.aclose()
    assert len(asyncio.all_tasks()) == 1


LIVES = """
from contextlib import asynccontextmanager
import asyncio
from mailserver.api import *

@asynccontextmanager
async def setup(registry, settings, host):
    host.directory.append("up")
    async with asyncio.TaskGroup() as group:
        {body}
    host.directory.append("down")

plugin = Plugin(name="x", setup=setup)
"""


async def test_a_task_group_may_span_the_life_of_a_plugin(tmp_path: Path) -> None:
    write(tmp_path, LIVES.format(body="ticker = group.create_task(asyncio.Event().wait()); yield; ticker.cancel()"))
    loaded, _ = read(tmp_path, {"x": {"file": "x.py"}})
    seen: list[str] = []
    plugins = RunningPlugins(Hooks(), make_host(directory=seen))
    await asyncio.create_task(plugins.start(loaded))
    await asyncio.create_task(plugins.aclose())
    assert seen == ["up", "down"]


async def test_n08_a_plugin_that_breaks_down_takes_nobody_with_it(tmp_path: Path) -> None:
    write(tmp_path, LIVES.format(body="group.create_task(asyncio.to_thread(int, 'x')); yield"))
    write(tmp_path, PLUGIN, "y.py")
    loaded, _ = read(tmp_path, {"x": {"file": "x.py"}, "y": {"file": "y.py"}})
    hooks = Hooks()
    plugins = RunningPlugins(hooks, make_host(directory=[]))
    with capture_logs() as logs:
        await plugins.start(loaded)
        broken = plugins._running[0]._task
        assert broken is not None
        await asyncio.wait({broken})
        assert await greeting(hooks) == "hello"
        await plugins.aclose()
    assert logs[0]["event"] == "plugin ended by itself"
