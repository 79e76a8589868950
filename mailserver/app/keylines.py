"""Where each key of a TOML file stands, so that an error can name its line (`tomllib` does not keep positions)."""

from __future__ import annotations

import re
import tomllib

__all__ = ["Path", "key_lines", "line_of"]

Path = tuple[str, ...]

# One token of a TOML document that tomllib has already accepted; each alternative is linear.
_TOKEN = re.compile(
    r"""
    (?P<string> \"{3}(?:[^"\\]|\\.|"(?!""))*\"{3,5} | '{3}(?:[^']|'(?!''))*'{3,5}
              | "(?:[^"\\\n]|\\.)*" | '[^'\n]*' )
  | (?P<comment> \#[^\n]* )
  | (?P<newline> \n )
  | (?P<open> [\[{] )
  | (?P<close> [\]}] )
  | (?P<equals> = )
  | (?P<bare> [^\s"'\#\[\]{}=.,]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """Each table and key of a valid document with the line (from 1) on which it first appears.

    Keys of inline tables and items of arrays are not listed; `line_of` gives the line of what holds them.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    parts: list[str] = []
    line, depth, in_value, in_header = 1, 0, False, False
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind == "newline":
            if in_header:
                table = tuple(parts)
                _note(lines, table, line)
            if depth == 0 or in_header:
                parts, depth, in_value, in_header = [], 0, False, False
        elif kind == "open":
            in_header = in_header or not (in_value or parts or depth)
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "equals" and not in_value:
            _note(lines, (*table, *parts), line)
            in_value = True
        elif not in_value and kind in ("bare", "string"):
            parts.append(_unquoted(token))
        line += token.count("\n")
    if in_header:
        _note(lines, tuple(parts), line)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """The line of a key, else of the nearest table or key that holds it; None for the document itself."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def _note(lines: dict[Path, int], path: Path, line: int) -> None:
    for end in range(1, len(path) + 1):
        lines.setdefault(path[:end], line)


def _unquoted(token: str) -> str:
    return str(tomllib.loads(f"k = {token}")["k"]) if token[0] in "\"'" else token
