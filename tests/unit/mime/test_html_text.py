"""HTML as text: what is read in one go is what the reader of tags makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime import html_text as module
from mailserver.mime.html_text import html_text

PIECES = (
    "<p>", "</p>", "<P CLASS=x>", "<br/>", "<b>", "</b>", "<b", "<a href='x'>", "<a-b>", "<p:x>", "<b <p>", "<", "<<",
    ">", "</", "</3>", "<!-- c -->", "<!x>", "<?x>", "<style>", "</style>", "<header>", "<head>", "<blockquote>",
    "</blockquote>", "<div class=gmail_quote>", '<div class="moz-cite-prefix">', "</div>", f"<{'y' * 40}>", "\u0130",
    "text ", "x&amp;y", "\n", " ",
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>one <b>t</b>wo</p><p>three", (" one two  three", "")),
        ("a<br>b <3 c&lt;", ("a b <3 c<", "")),
        ("one<style>x</style>two<blockquote>three</blockquote>", ("one  two  ", "three")),
    ],
)
def test_text(source: str, expected: tuple[str, str]) -> None:
    own, quoted = html_text(source, 1000)
    assert (own.split(), quoted.split()) == (expected[0].split(), expected[1].split())


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.sampled_from([0, 3, 20, 1000]))
def test_both_ways_lead_to_the_same(source: str, enough: int) -> None:
    reader = module._Reader(source, enough)
    reader.run()
    assert html_text(source, enough) == (module._unescape(reader.own), module._unescape(reader.quoted))


def test_hidden_and_quoted_text_is_never_taken_for_the_writers() -> None:
    for telling in module._TELLING:
        assert not module._is_plain(f"<p>one</p>{telling.upper()}>two")
