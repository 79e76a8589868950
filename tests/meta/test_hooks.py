"""A hook exists only with documentation, a test and a user; docs/hooks.md is what the program says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from mailserver import api
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.points import POINTS, HookPoint, Kind
from mailserver.hooks.reference import describe, reference
from mailserver.hooks.registry import Registry

ROOT = Path(__file__).parents[2]


def text_of(*folders: str) -> str:
    return "\n".join(path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def test_the_page_is_what_the_program_says() -> None:
    assert (ROOT / "docs" / "hooks.md").read_text() == reference(), (
        "docs/hooks.md is old; write mailserver.hooks.reference.reference() to it"
    )


def test_every_method_of_the_registry_is_a_hook_point() -> None:
    methods = {name for name, _ in inspect.getmembers(Registry, inspect.isfunction) if not name.startswith("_")}
    assert methods == {point.method for point in POINTS}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.method)
def test_a_hook_point_has_documentation_a_test_and_a_user(point: HookPoint) -> None:
    assert len(describe(point)) > 20
    used = re.search(rf"\.{point.method}\(", text_of("mailserver/plugins", "mailserver/app"))
    if point.reserved_for:
        assert not re.search(rf"registry\.{point.method}\(", text_of("mailserver/plugins")), "it has a user now"
    else:
        assert used, f"{point.method} has no user"
    assert re.search(rf"\b{point.method}\b", text_of("tests/unit/hooks")), f"{point.method} has no test"
    if point.kind in (Kind.DECIDE, Kind.PROVIDE):
        method = point.method.removeprefix("on_")
        assert inspect.iscoroutinefunction(getattr(Hooks, method))
        assert point.context is not None
        assert getattr(api, point.context.__name__) is point.context
        for answer in point.answers:
            assert answer.__module__ == "builtins" or getattr(api, answer.__name__) is answer


def test_built_in_plugins_import_the_api_only() -> None:
    root = ROOT / "mailserver" / "plugins"
    for path in sorted(root.rglob("*.py")):
        # Files of a plugin that is a package may use each other; no plugin uses another one.
        package = path.relative_to(root).parts[0]
        own = "from mailserver.plugins" if path == root / "__init__.py" else f"from mailserver.plugins.{package}"
        for line in path.read_text().splitlines():
            if line.startswith(("import mailserver", "from mailserver")):
                assert line.startswith(("from mailserver import api", "from mailserver.api import", own)), (
                    f"{path.relative_to(root)}: {line}"
                )


def test_kinds_of_reports_know_nothing_of_each_other() -> None:
    root = ROOT / "mailserver" / "plugins" / "aggregate_reports"
    kinds = {path.parent.name for path in root.glob("*/__init__.py")}
    assert kinds == {"dmarc_report", "tlsrpt"}
    for path in sorted(root.rglob("*.py")):
        named = {kind for kind in kinds if f"aggregate_reports.{kind}" in path.read_text()}
        assert named <= {path.parent.name}, f"{path.relative_to(root)} imports a kind of report"
