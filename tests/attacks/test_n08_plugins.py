"""ATTACKS N08: a bad plugin costs what its hooks decide, and nothing else (each badness alone: tests/unit/hooks)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailserver.hooks.contexts import MessageContext, ResolveContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.loading import read_plugins
from mailserver.hooks.running import RunningPlugins
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope
from mailserver.model.ids import QueueId
from mailserver.model.verdict import Accept, Defer
from mailserver.plugins import BUILT_IN
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_session, running

BAD = {
    "raises": "raise KeyError(bytes(ctx.content.head()))",
    "hangs": "await asyncio.Event().wait()",
    "leaks": "asyncio.get_running_loop().create_task(asyncio.Event().wait()); await asyncio.Event().wait()",
    "wrong": "return 'accept everything'",
    "exits": "raise SystemExit(1)",
}
SOURCE = """
import asyncio
from contextlib import asynccontextmanager
from mailserver.api import Plugin

async def bad(ctx):
    {body}

@asynccontextmanager
async def setup(registry, settings, host):
    registry.on_message(bad)
    registry.resolve(bad)
    yield

plugin = Plugin(name="bad", setup=setup)
"""
MESSAGE = MessageContext(
    session=make_session(trusted=True), queue_id=QueueId("q"), envelope=Envelope(sender=None),
    content=BytesContent(b"Subject: canary\r\n\r\n"),
)  # fmt: skip
ANNA = ResolveContext(address=EmailAddress("anna", "example.test"))


@pytest.mark.parametrize("on_error", ["defer", "skip"])
@pytest.mark.parametrize("how", BAD)
async def test_n08_a_bad_plugin_beside_good_ones(tmp_path: Path, how: str, on_error: str) -> None:
    (tmp_path / "bad.py").write_text(SOURCE.format(body=BAD[how]))
    async with running(tmp_path) as server:
        await server.add("anna@example.test")
        sections = {"bad": {"file": "bad.py", "timeout": 0.01, "on_error": on_error}}
        loaded, problems = read_plugins(sections, ["bad", "rate_limit", "accounts"], BUILT_IN, tmp_path)
        assert problems == []
        hooks = Hooks()
        plugins = RunningPlugins(hooks, server.host)
        await plugins.start(loaded)
        with capture_logs() as logs:
            verdict, resolution = await hooks.message(MESSAGE), await hooks.resolve(ANNA)
        if on_error == "defer":
            assert isinstance(verdict, Defer)
            assert verdict.reply.code == 451
            assert getattr(resolution, "reply", None) == verdict.reply
        else:
            assert verdict == Accept()
            assert getattr(resolution, "destinations", ())
        assert {(log["event"], log["plugin"]) for log in logs} == {("plugin failed", "bad")}
        assert "canary" not in str(logs)
        assert [(c.plugin, c.failures) for c in hooks.counters()][:2] == [("bad", 2), ("rate_limit", 0)]
        await plugins.aclose()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


@pytest.mark.parametrize("mode", [0o666, 0o777, 0o602])
def test_n08_a_file_that_everyone_may_write_is_not_loaded(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "bad.py"
    path.write_text(SOURCE.format(body="return None"))
    path.chmod(mode)
    loaded, problems = read_plugins({"bad": {"file": "bad.py"}}, [], {}, tmp_path)
    assert loaded == []
    assert "can be written by everyone" in problems[0].text
