"""Links of HTML: where they lead, what they show."""

from __future__ import annotations

import pytest

from mailserver.mime.html_links import html_links, shown_host


@pytest.mark.parametrize(
    ("source", "host", "user", "text"),
    [
        ('<a href="https://far.test/x">bank.test</a>', "far.test", "", "bank.test"),
        ("<A CLASS=x HREF=HTTP://Far.Test>a\n <b>b</b></A>", "far.test", "", "a b"),
        ("<a href='//far.test'>x", "far.test", "", "x"),
        ('<a title=">" href="https://far.test:8443?x">x</a>', "far.test", "", "x"),
        ('<a href="https://bank.test@evil.test/">x</a>', "evil.test", "bank.test", "x"),
        ('<a href="https:\\\\evil.test\\x">x</a>', "evil.test", "", "x"),
        ('<a href="https://&#101;vil.test">x</a>', "evil.test", "", "x"),
        ('<a href="https://%65vil.test">x</a>', "evil.test", "", "x"),
        ('<a href="ht\ntps://ev\til.test">x</a>', "evil.test", "", "x"),
        ('<a href="https://evil.test./">&lt;x&gt;</a>', "evil.test", "", "<x>"),
        ('<a href="http://[2001:db8::1]:80/">x</a>', "[2001:db8::1]", "", "x"),
        ('<a href="https://a.test">x<a href="https://b.test">y</a>', "a.test", "", "x"),
    ],
)
def test_a_link(source: str, host: str, user: str, text: str) -> None:
    assert html_links(f"<p>{source}")[0] == (host, user, text)


@pytest.mark.parametrize(
    "source",
    [
        "<a>x</a>", '<a name="x">x</a>', '<a href="mailto:x@y.test">x</a>', '<a href="#x">x</a>', '<a href="/x">x</a>',
        '<abbr href="https://x.test">x</abbr>', '<a href="https://x.test" x', '<a data-href="https://x.test">x</a>',
        '<a href="javascript:x()">x</a>', "", "<a", "<a ", '<a href="https://">',
    ],
)  # fmt: skip
def test_no_link(source: str) -> None:
    assert html_links(source) == []


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://Bank.test/login?x=1", "bank.test"), ("www.bank.test", "www.bank.test"), ("bank.test:443/x",
        "bank.test"),
        ("bank.co.uk", "bank.co.uk"), ("xn--bcher-kva.test", "xn--bcher-kva.test"), ("b\u00fccher.test",
        "b\u00fccher.test"),
        ("click here", ""), ("x@bank.test", ""), ("report.pdf", ""), ("README.md", ""), ("https://docs.md", "docs.md"),
        ("a.b.c.1", ""), ("1.2", ""), ("...", ""), ("bank.test now", ""), ("", ""), ("a." * 100_000, ""),
    ],
)  # fmt: skip
def test_a_text_that_is_an_address(text: str, host: str) -> None:
    assert shown_host(text) == host


@pytest.mark.parametrize(
    "piece",
    ["<a ", '<a href="', "<a x='", "<a href=https://x.test>", '<a href="https://x.test">', "<a/",
    "&#" + "9" * 50]
)
def test_endless_html_is_read_in_bounds(piece: str) -> None:
    found = html_links(piece * 50_000)
    assert len(found) <= 200 and all(len(link.text) <= 1000 for link in found)
