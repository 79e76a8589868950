from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.app.keylines import key_lines, line_of

DOCUMENT = '''\
# comment = 1
a = 1
b.c = "x = y # no"  # d = 2

[t]  # [no]
"q.r" = [
    "one", # e = 3
    """
    [no]
    """,
]
f = {g = 1, h = 2}
m = """
i = 1
""" # end
l = \'\'\'
j = 'x' \'\'\'
n = "\\"\\\\"
[ u . "v w" . 'x' ]
o = 1
[[w]]
p = 1'''


def test_every_key_has_its_line() -> None:
    assert key_lines(DOCUMENT) == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 3,
        ("t",): 5,
        ("t", "q.r"): 6,
        ("t", "f"): 12,
        ("t", "m"): 13,
        ("t", "l"): 16,
        ("t", "n"): 18,
        ("u",): 19,
        ("u", "v w"): 19,
        ("u", "v w", "x"): 19,
        ("u", "v w", "x", "o"): 20,
        ("w",): 21,
        ("w", "p"): 22,
    }


def test_an_unlisted_key_has_the_line_of_what_holds_it() -> None:
    lines = key_lines(DOCUMENT)
    assert line_of(lines, ("t", "f", "g")) == 12
    assert line_of(lines, ("t", "missing")) == 5
    assert line_of(lines, ("missing",)) is None


_KEYS = st.text("abcXYZ019-_", min_size=1, max_size=4) | st.text(min_size=1, max_size=4).map(
    lambda text: '"' + "".join(f"\\U{ord(c):08x}" for c in text if not 0xD800 <= ord(c) < 0xE000) + '"'
)
_VALUES = st.sampled_from(
    ["1", '"a"', "'b'", "[1, 2]", "[\n 1, # x = 1\n 2\n]", '"""\n[x]\ny = 1"""', "{q = 1}", "1.5", "true"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_KEYS, st.lists(st.tuples(_KEYS, _VALUES), max_size=4)), max_size=5))
def test_agrees_with_tomllib_about_what_keys_there_are(tables: list[tuple[str, list[tuple[str, str]]]]) -> None:
    text = "".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in body) for name, body in tables)
    try:
        parsed: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a table or key came twice
    expected = {(name,) for name in parsed} | {(name, key) for name, body in parsed.items() for key in body}
    lines = key_lines(text)
    assert set(lines) == expected
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def test_work_is_linear() -> None:
    # Half a million octets of what makes a careless pattern go back and forth.
    for piece in ("[" * 500_000, '"' * 499_999, "a" * 500_000, "'''" + "''" * 250_000, '"""' + "\\" * 500_000):
        key_lines(piece)
