"""Arguments of SMTP commands: known answers, and nothing but BadArgument for anything else."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Body, DsnReturn, Notify
from mailserver.wire.dotstuff import ContentCheck
from mailserver.wire.proxy import BadProxyHeader, ProxyHeader, ProxyReader
from mailserver.wire.smtp import (
    BadArgument,
    MailArguments,
    RcptArguments,
    parse_bdat,
    parse_helo,
    parse_mail,
    parse_rcpt,
)

X = EmailAddress("x", "far.test")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"FROM:<>", MailArguments(None)),
        (b"FROM:<x@far.test>", MailArguments(X)),
        (b"from:  <x@FAR.test>", MailArguments(X)),
        (b"FROM:<@a.test,@b.test:x@far.test>", MailArguments(X)),
        (b'FROM:<"x"@far.test>', MailArguments(X)),
        (b'FROM:<"a >b\\"c"@far.test>', MailArguments(EmailAddress('a >b"c', "far.test"))),
        (b"FROM:<x@[192.0.2.1]>", MailArguments(EmailAddress("x", "[192.0.2.1]"))),
        (b"FROM:<x@far.test> SIZE=12 BODY=8BITMIME", MailArguments(X, size=12, body=Body.EIGHT_BIT_MIME)),
        (b"FROM:<x@far.test> body=7bit size=00", MailArguments(X, size=0)),
        (b"FROM:<x@far.test> RET=FULL ENVID=+2Bq", MailArguments(X, dsn_return=DsnReturn.FULL, envelope_id="+2Bq")),
        ("FROM:<é@far.test> SMTPUTF8".encode(), MailArguments(EmailAddress("é", "far.test"), smtputf8=True)),
        (b"FROM:<x@far.test> AUTH=<> REQUIRETLS", MailArguments(X, auth="<>", require_tls=True)),
        (b"FROM:<x@far.test> AUTH=e+3Dmc2@a.test", MailArguments(X, auth="e+3Dmc2@a.test")),
    ],
)
def test_mail(text: bytes, expected: MailArguments) -> None:
    assert parse_mail(text, require_tls=True, auth=True, dsn=True) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", 501), (b"FROM", 501), (b"FROM:", 501), (b"FROM: ", 501), (b"FROM:<x>", 501),
        (b"FROM:<x@far.test> >", 501),
        (b"FROM:<x@far.test>\xff", 501), (b"FROM:<<x@far.test>>", 501), (b"FROM:<x@far.test> SIZE", 501),
        (b"FROM:<x@far.test> SIZE=", 501), (b"FROM:<x@far.test> SIZE=1e3", 501), (b"FROM:<x@far.test> SIZE=0x1", 501),
        (b"FROM:<x@far.test> SIZE=1=2", 501), (b"FROM:<x@far.test> -A=1", 501),
        (b"FROM:<x@far.test> RET=full,hdrs", 501),
        (b"FROM:<x@far.test> ENVID=" + b"a" * 101, 501), (b"FROM:<x@far.test> REQUIRETLS", 555),
        (b"FROM:<x@far.test> AUTH=<>", 555),
        (b"FROM:<x@far.test>" + b" A=1" * 17, 501), (b"FROM:<" + b"a" * 65 + b"@far.test>", 501),
        (b"FROM:<@a.test:>", 501), (b"FROM:<@:x@far.test>", 501), ("FROM:<é@far.test>".encode(), 553),
        (b"FROM:<x@far.test> \tSIZE=1", 501), (b"FROM:<x\0@far.test>", 501),
    ],
)  # fmt: skip
def test_mail_that_is_wrong(text: bytes, code: int) -> None:
    with pytest.raises(BadArgument) as caught:
        parse_mail(text, dsn=True)
    assert caught.value.reply.code == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"TO:<x@far.test>", RcptArguments(X)),
        (b"TO:<PostMaster>", RcptArguments(None)),
        (b"TO:<x@far.test> NOTIFY=never", RcptArguments(X, frozenset({Notify.NEVER}))),
        (
            b"TO:<x@far.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;A+2Bb@c.test",
            RcptArguments(X, frozenset({Notify.FAILURE, Notify.DELAY}), "rfc822;A+2Bb@c.test"),
        ),
    ],
)
def test_rcpt(text: bytes, expected: RcptArguments) -> None:
    assert parse_rcpt(text, dsn=True) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"TO:<x@far.test> NOTIFY=", b"TO:<x@far.test> NOTIFY=DELAY,DELAY", b"TO:<x@far.test> NOTIFY=DELAY,", b"TO:<>",
        b"TO:<x@far.test> ORCPT=rfc822;", b"TO:<x@far.test> ORCPT=rfc822;a+0d", b"TO:<x@far.test> ORCPT=;a",
        b"TO:<x@far.test> ORCPT=rfc822;" + b"a" * 5000, b"TO:<x@far.test> ORCPT=rfc822;a ORCPT=rfc822;b",
        b"TO:<\"a\nb\"@c.test>",
    ],
)  # fmt: skip
def test_e09_rcpt_that_is_wrong(text: bytes) -> None:
    with pytest.raises(BadArgument) as caught:
        parse_rcpt(text, dsn=True)
    assert caught.value.reply.code == 501


def test_an_address_that_is_not_ascii_needs_smtputf8() -> None:
    """RFC 6531 §3.2: in its domain too, which we would know by its A-label."""
    for text in ("é@far.test", "a@bücher.test"):
        with pytest.raises(BadArgument) as caught:
            parse_mail(f"FROM:<{text}>".encode())
        assert str(caught.value.reply).startswith("553 5.6.7")
        with pytest.raises(BadArgument) as caught:
            parse_rcpt(f"TO:<{text}> NOTIFY=NEVER".encode(), dsn=True)
        assert str(caught.value.reply).startswith("553 5.6.7")
        assert parse_rcpt(f"TO:<{text}>".encode(), smtputf8=True).address == EmailAddress.parse(text)


def test_e09_encoded_line_ends_stay_encoded() -> None:
    found = parse_rcpt(b"TO:<x@far.test> ORCPT=rfc822;a+0D+0Ab", dsn=True)
    assert found.original_recipient == "rfc822;a+0D+0Ab"


@pytest.mark.parametrize("text", [b"RET=HDRS", b"ENVID=a", b"NOTIFY=NEVER", b"ORCPT=rfc822;a@b.test", b"RET=junk"])
def test_dsn_where_it_was_not_announced(text: bytes) -> None:
    parse, path = (parse_mail, b"FROM:") if text.startswith((b"RET", b"ENVID")) else (parse_rcpt, b"TO:")
    with pytest.raises(BadArgument) as caught:
        parse(path + b"<x@far.test> " + text)
    assert str(caught.value.reply).startswith("555 5.5.4")


@settings(max_examples=400)
@given(
    st.one_of(st.binary(max_size=80), st.text(max_size=60).map(str.encode)),
    st.sampled_from([b"", b"FROM:", b"FROM:<", b"TO:<x@"]),
)
def test_nothing_but_bad_argument(text: bytes, prefix: bytes) -> None:
    for parse in (partial(parse_mail, dsn=True), partial(parse_rcpt, dsn=True), parse_bdat, parse_helo):
        try:
            parse(prefix + text)
        except BadArgument as error:
            assert b"\r" not in error.reply.encode()[:-2] and b"\0" not in error.reply.encode()


@pytest.mark.parametrize(
    ("text", "expected"), [(b"0", (0, False)), (b"12 LAST", (12, True)), (b"007  last", (7, True))]
)
def test_bdat(text: bytes, expected: tuple[int, bool]) -> None:
    assert parse_bdat(text) == expected


@pytest.mark.parametrize("limit", [5, 6, 7, 100])
@pytest.mark.parametrize("piece", [1, 2, 3, 50])
def test_the_longest_line(limit: int, piece: int) -> None:
    for length, too_long in ((limit, False), (limit + 1, True)):
        # The CR counts, the LF does not; what matters is that the bound is one bound for every cut.
        content = b"ab\r\n" + b"x" * (length - 1) + b"\r\ncd\r\n"
        check = ContentCheck(normalize=False, longest_line=limit)
        at = 0
        while at < len(content):
            cut = content[at : at + piece]
            check.feed(cut)
            at += piece
        assert check.too_long is too_long, (length, piece)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"a", b"\r\n"]), max_size=30), st.integers(1, 4))
def test_normalized_content_has_no_bare_line_ends(parts: list[bytes], piece: int) -> None:
    content = b"".join(parts)
    check = ContentCheck(normalize=True, longest_line=1000)
    out = b"".join(check.feed(content[at : at + piece]) for at in range(0, len(content), piece)) + check.finish()
    assert out.count(b"\r\n") == out.count(b"\r") == out.count(b"\n") and b"\0" not in out
    whole = ContentCheck(normalize=True, longest_line=1000)
    assert whole.feed(content) + whole.finish() == out
    assert out.replace(b"\r\n", b"") == content.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")


def _proxy(wire: bytes) -> tuple[ProxyHeader | None, bytes]:
    reader, at = ProxyReader(), 0
    while reader.header is None and at < len(wire):
        octets = wire[at : at + reader.wanted]
        reader.feed(octets)
        at += len(octets)
    return reader.header, wire[at:]


@pytest.mark.parametrize("rest", [b"", b"\x16\x03\x01rest", b"\r\n"])
def test_b12_proxy_headers_take_no_octet_too_many(rest: bytes) -> None:
    for header, address in (
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65535 25\r\n", ProxyHeader("192.0.2.1", 65535)),
        (b"PROXY UNKNOWN\r\n", ProxyHeader()),
        (b"PROXY UNKNOWN ffff:f ffff:f 1 1\r\n", ProxyHeader()),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\0\1\0\x19", ProxyHeader("192.0.2.1", 1)),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + b"\0" * 15 + b"\1" + b"\0" * 16 + b"\0\1\0\2", ProxyHeader("::1", 1)),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0", ProxyHeader()),
    ):
        assert _proxy(header + rest) == (address, rest)


@settings(max_examples=300)
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
)
def test_b12_nothing_but_a_bad_header(wire: bytes, prefix: bytes) -> None:
    with contextlib.suppress(BadProxyHeader):
        _proxy(prefix + wire)
