"""The example of docs/plugins.md, as it stands there, through the real mechanism."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mailserver.hooks.contexts import MessageContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.loading import read_plugins
from mailserver.hooks.running import RunningPlugins
from mailserver.model.envelope import Envelope
from mailserver.model.ids import QueueId
from mailserver.model.verdict import Accept, HeaderField
from mailserver.plugins import BUILT_IN
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_host, make_session

PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"


async def test_the_ten_line_example_runs(tmp_path: Path) -> None:
    blocks = dict(re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL))
    source = blocks["greeting.py"]
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    sections = tomllib.loads(blocks["config.toml"])["plugins"]
    disabled = {name: {"enabled": False} for name in BUILT_IN}
    loaded, problems = read_plugins(disabled | sections, [], BUILT_IN, tmp_path)
    assert problems == []
    hooks = Hooks()
    plugins = RunningPlugins(hooks, make_host())
    await plugins.start(loaded)
    ctx = MessageContext(
        session=make_session(), queue_id=QueueId("q"), envelope=Envelope(sender=None), content=BytesContent(b"\r\n")
    )
    assert await hooks.message(ctx) == Accept((HeaderField("X-Greeting", "hello from mail.example.test"),))
    await plugins.aclose()
