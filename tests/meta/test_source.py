"""What is true of every source file: RFC references, tasks with an owner, docstrings, words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "mailserver"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = [
    *MODULES,
    *(path for folder in ("docs", "systemd", "tests", "bench") for path in sorted((REPOSITORY / folder).rglob("*.*"))),
    *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "config.toml")),
]
_RFC = re.compile(r"\bRFCs? ?([0-9]{3,5})\b")


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def listed_rfcs() -> dict[str, str]:
    lines = (REPOSITORY / "docs" / "rfc.tsv").read_text().splitlines()
    return dict(line.split("\t") for line in lines[1:])


def test_every_cited_rfc_is_in_the_list() -> None:
    cited: dict[str, str] = {}
    for path in MODULES:
        cited |= {number: name(path) for number in _RFC.findall(path.read_text())}
    assert len(cited) > 20, "the pattern finds nothing any more"
    missing = {number: where for number, where in cited.items() if number not in listed_rfcs()}
    assert not missing, f"add these to docs/rfc.tsv, with their titles: {missing}"


def test_the_list_of_rfcs_is_in_order_and_has_titles() -> None:
    lines = (REPOSITORY / "docs" / "rfc.tsv").read_text().splitlines()
    assert lines[0] == "rfc\ttitle"
    numbers = [int(line.split("\t")[0]) for line in lines[1:]]
    assert numbers == sorted(set(numbers))
    assert all(title.strip() for title in listed_rfcs().values())


def bare_tasks(tree: ast.AST) -> Iterator[int]:
    """Lines where a task is made that nobody holds: asyncio may collect it while it runs, and its failure is lost.

    A task group holds its tasks: any receiver whose name says that it is one (`group`, `self._group`, `tg`).
    """
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            continue
        function = node.value.func
        called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
        if called in ("create_task", "ensure_future") and not re.search(r"group|\btg$", owner):
            yield node.lineno


def test_every_task_has_an_owner() -> None:
    found = {name(path): list(bare_tasks(ast.parse(path.read_text()))) for path in MODULES}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_a_bare_task_is_found() -> None:
    code = "asyncio.create_task(f())\ngroup.create_task(f())\nloop.create_task(f())\nt = asyncio.ensure_future(f())"
    assert list(bare_tasks(ast.parse(code))) == [1, 3]


def test_every_module_says_what_it_is() -> None:
    assert [name(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


# Put together here, so that this file does not hold them.
_UNFINISHED = re.compile("|".join(rf"\b{a}{b}\b" for a, b in [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")]))
_PLACES = re.compile(r"(?<![\w.])/(?:home|root|Users)/\w")


def test_nothing_is_unfinished_or_of_one_machine() -> None:
    found = []
    for path in TEXTS:
        if path.is_file() and path.suffix not in (".pyc", ".pem"):
            text = path.read_bytes().decode("utf-8", "replace")
            found += [(name(path), m[0]) for pattern in (_UNFINISHED, _PLACES) for m in pattern.finditer(text)]
    assert found == [], "finish it or write an issue; take out the path of somebody's machine"
