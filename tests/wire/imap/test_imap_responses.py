"""wire/imap/responses.py: known answers, and nothing that a stranger chose breaks out of its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.numset import NumSet
from mailserver.model.rights import Right
from mailserver.wire.imap import responses as r
from mailserver.wire.imap.commands import StatusItem
from mailserver.wire.imap.fragments import literal_header
from mailserver.wire.imap.lexer import Lexer
from mailserver.wire.imap.sequence_set import PartialRange


@pytest.mark.parametrize(
    ("data", "rendered"),
    [
        (b"", b'""'),
        (b"plain text", b'"plain text"'),
        (b'a "b" \\c', b'"a \\"b\\" \\\\c"'),
        (b"two\r\nlines", b"{10}\r\ntwo\r\nlines"),
        (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"),
        (b"a\0b", b"{3}\r\na\x80b"),
        (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
    ],
)
def test_string(data: bytes, rendered: bytes) -> None:
    assert r.string(data) == rendered


def test_other_strings() -> None:
    assert r.nstring(None) == b"NIL"
    assert r.nstring(b"NIL") == b'"NIL"'
    assert r.astring(b"Message-ID") == b"Message-ID"
    assert r.astring(b"nil") == b'"nil"'
    assert r.astring(b"a b") == b'"a b"'
    assert r.text_string("ä", utf8=True) == '"ä"'.encode()
    assert r.text_string("ä", utf8=False) == "{2}\r\nä".encode()
    assert r.text_string("a\r\nb", utf8=True) == b"{4}\r\na\r\nb"
    assert r.mailbox('Entwürfe "neu"', utf8=False) == b'"Entw&APw-rfe \\"neu\\""'
    assert r.mailbox("Entwürfe & more", utf8=True) == '"Entwürfe & more"'.encode()


@pytest.mark.parametrize(
    ("rendered", "expected"),
    [
        (r.status_line(b"a1", "OK", "done"), b"a1 OK done\r\n"),
        (r.status_line(b"*", "OK", "ready", "UIDNEXT 5"), b"* OK [UIDNEXT 5] ready\r\n"),
        (r.status_line(b"a", "NO", "ä\r\nb OK x"), b"a NO ???b OK x\r\n"),
        (r.continuation("idling"), b"+ idling\r\n"),
        (r.challenge(b""), b"+ \r\n"),
        (r.challenge(b"\0x"), b"+ AHg=\r\n"),
        (r.enabled([]), b"* ENABLED\r\n"),
        (r.enabled(["CONDSTORE"]), b"* ENABLED CONDSTORE\r\n"),
        (r.id_response([]), b"* ID NIL\r\n"),
        (r.id_response([("name", "x"), ("version", None)]), b'* ID ("name" "x" "version" NIL)\r\n'),
        (r.namespace(("", None, None), "/", utf8=False), b'* NAMESPACE (("" "/")) NIL NIL\r\n'),
        (
            r.namespace(("INBOX.", "Other Users.", "Shared."), ".", utf8=True),
            b'* NAMESPACE (("INBOX." ".")) (("Other Users." ".")) (("Shared." "."))\r\n',
        ),
        (r.acl("x", [("a@x", frozenset(Right)), ("-b@x", frozenset())], utf8=False),
         b'* ACL "x" a@x lrswipkxteacd -b@x ""\r\n'),
        (r.list_rights("&", 'ü@x', "", "lr", utf8=False), b'* LISTRIGHTS "&-" {4}\r\n\xc3\xbc@x "" l r\r\n'),
        (r.my_rights("x", frozenset({Right.LOOKUP, Right.EXPUNGE}), utf8=False), b'* MYRIGHTS "x" led\r\n'),
        (
            r.list_line([b"\\HasNoChildren", b"\\Sent"], "/", "Gesendet/ä", utf8=False),
            b'* LIST (\\HasNoChildren \\Sent) "/" "Gesendet/&AOQ-"\r\n',
        ),
        (r.list_line([], None, "x", utf8=False, command=b"LSUB"), b'* LSUB () NIL "x"\r\n'),
        (
            r.list_line([], "/", "x", utf8=False, extended=[b'"CHILDINFO" ("SUBSCRIBED")']),
            b'* LIST () "/" "x" ("CHILDINFO" ("SUBSCRIBED"))\r\n',
        ),
        (
            r.status("x", [(StatusItem.MESSAGES, 3), (StatusItem.APPENDLIMIT, None)], utf8=False),
            b'* STATUS "x" (MESSAGES 3 APPENDLIMIT NIL)\r\n',
        ),
        (r.search([]), b"* SEARCH\r\n"),
        (r.search([], 7), b"* SEARCH\r\n"),
        (r.search([2, 84], 917162500), b"* SEARCH 2 84 (MODSEQ 917162500)\r\n"),
        (r.esearch(b"A282", uid=False, minimum=2, count=3), b'* ESEARCH (TAG "A282") MIN 2 COUNT 3\r\n'),
        (
            r.esearch(b"a", uid=True, maximum=47, all_found=[2, 3, 9], count=3, modseq=5),
            b'* ESEARCH (TAG "a") UID MAX 47 ALL 2:3,9 COUNT 3 MODSEQ 5\r\n',
        ),
        (
            r.esearch(b"a", uid=True, partial=(PartialRange(-1, -100), [3, 4, 9, 8])),
            b'* ESEARCH (TAG "a") UID PARTIAL (-1:-100 3:4,9,8)\r\n',
        ),
        (r.esearch(b"a", uid=False, partial=(PartialRange(9, 5), [])), b'* ESEARCH (TAG "a") PARTIAL (9:5 NIL)\r\n'),
        (r.esearch(b"a", uid=False, all_found=[], count=0), b'* ESEARCH (TAG "a") COUNT 0\r\n'),
        (r.vanished(NumSet(((300, 310), (405, 405)))), b"* VANISHED 300:310,405\r\n"),
        (r.vanished(NumSet(((41, 41),)), earlier=True), b"* VANISHED (EARLIER) 41\r\n"),
        (r.vanished(NumSet()), b""),
        (r.quota("", [("STORAGE", 10, 512)]), b'* QUOTA "" (STORAGE 10 512)\r\n'),
        (r.quota_root("INBOX", [""], utf8=False), b'* QUOTAROOT "INBOX" ""\r\n'),
    ],
)
def test_response(rendered: bytes, expected: bytes) -> None:
    assert rendered == expected


def read(rendered: bytes) -> bytes:
    """Read one string back as a client does; it must end where it says."""
    lexer = Lexer(rendered)
    value = lexer.string()
    lexer.end()
    return value


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))
def test_strings_round_trip(data: bytes) -> None:
    rendered = r.string(data)
    assert read(rendered) == data.replace(b"\0", b"\x80")
    assert rendered.startswith(b'"') == (b"\r" not in rendered)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40), st.booleans())
def test_mailbox_names_round_trip(name: str, utf8: bool) -> None:
    lexer = Lexer(r.mailbox(name.replace("\0", ""), utf8=utf8), utf8=utf8)
    assert lexer.mailbox_name(lexer.string()) == name.replace("\0", "")
    lexer.end()


@given(st.text(max_size=60), st.text(max_size=20))
def test_a_status_line_is_one_line(text: str, code: str) -> None:
    line = r.status_line(b"a", "NO", text, code)
    assert line.endswith(b"\r\n")
    assert line[:-2].isascii()
    assert line[:-2].decode().isprintable()


@given(st.binary(max_size=60))
def test_a_quoted_string_never_announces_a_literal(data: bytes) -> None:
    rendered = r.string(data)
    if rendered.startswith(b'"'):
        assert literal_header(rendered) is None
