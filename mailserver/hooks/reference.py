"""`docs/hooks.md`, made from the hook points, the docstrings of Registry and the contexts; tests/meta compares them."""

from __future__ import annotations

import dataclasses
import inspect

from mailserver.hooks.points import POINTS, HookPoint, Kind
from mailserver.hooks.registry import Registry

__all__ = ["describe", "reference"]

_HEAD = """# Hooks

Made from the program's own text (`mailserver.hooks.reference`); `make test` fails when the two differ. How to write a
plugin is in [plugins.md](plugins.md).

A hook is a function that a plugin registers while it is set up, with the method of `Registry` that is named here. It
gets one frozen value, the context. It is a coroutine function, or a plain function where it has nothing to wait for.
"""

_KINDS = {
    Kind.DECIDE: "All hooks are asked, in the order of `plugin_order`. None is no opinion. Reject and Defer end\n"
    "the chain; a Quarantine sticks; header fields, changes and findings add up.",
    Kind.PROVIDE: "Hooks are asked in the order of `plugin_order`; the first answer that is not None counts.",
    Kind.OBSERVE: "After the fact. Nothing waits for an observer, and an observer changes nothing.",
    Kind.CONTRIBUTE: "Once, while the plugin is set up: the plugin adds a part to the server.",
}


def describe(point: HookPoint) -> str:
    """The first sentence of a hook point's documentation, on one line."""
    doc = inspect.getdoc(getattr(Registry, point.method)) or ""
    return " ".join(doc.split("\n\n")[0].split())


def reference() -> str:
    """The whole page."""
    out = [_HEAD]
    for kind in Kind:
        out.append(f"## {kind.value.capitalize()}\n\n{_KINDS[kind]}\n")
        out.extend(_point(point) for point in POINTS if point.kind is kind)
    return "\n".join(out)


def _point(point: HookPoint) -> str:
    method = getattr(Registry, point.method)
    out = [f"### {point.method}", "", inspect.getdoc(method) or ""]
    if point.context is None:
        parameters = list(inspect.signature(method).parameters.values())[1:]
        out += ["", f"`registry.{point.method}({', '.join(str(p).replace(chr(39), '') for p in parameters)})`"]
    else:
        names = " | ".join(answer.__name__ for answer in (*point.answers,))
        out += ["", f"Gets `{point.context.__name__}`, answers `{names} | None`.", ""]
        fields = dataclasses.fields(point.context)
        out += [f"* `{field.name}`: `{field.type}`" for field in fields]
    if point.reserved_for:
        out += ["", f"First user to come: {point.reserved_for}."]
    return "\n".join(out) + "\n"
