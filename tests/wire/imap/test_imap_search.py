"""wire/imap/parse/search.py: every key of RFC 9051 §6.4.4, result options, character sets, and the tree they make."""

from __future__ import annotations

import datetime

import pytest

from mailserver.model.numset import NumSet
from mailserver.wire.imap.commands import Search, SearchReturn
from mailserver.wire.imap.events import BadCommand
from mailserver.wire.imap.search_keys import (
    All,
    And,
    BodyText,
    DateField,
    DateKey,
    DateRelation,
    HasFlag,
    Header,
    Larger,
    ModSeq,
    Not,
    Or,
    Recent,
    SearchKey,
    Sequence,
    Smaller,
    Text,
    Uids,
)
from mailserver.wire.imap.sequence_set import SAVED_RESULT, SequenceSet
from tests.helpers.wire_imap import command, every_way

DAY = datetime.date(1994, 2, 1)
SEEN = HasFlag("\\Seen")
TWO_ON = SequenceSet(NumSet(), 2)

KEYS: list[tuple[bytes, SearchKey]] = [
    (b"ALL", All()),
    (b"ANSWERED", HasFlag("\\Answered")),
    (b"DELETED", HasFlag("\\Deleted")),
    (b"DRAFT", HasFlag("\\Draft")),
    (b"FLAGGED", HasFlag("\\Flagged")),
    (b"seen", SEEN),
    (b"UNANSWERED", Not(HasFlag("\\Answered"))),
    (b"UNDELETED", Not(HasFlag("\\Deleted"))),
    (b"UNDRAFT", Not(HasFlag("\\Draft"))),
    (b"UNFLAGGED", Not(HasFlag("\\Flagged"))),
    (b"UNSEEN", Not(SEEN)),
    (b"NEW", And((Recent(), Not(SEEN)))),
    (b"OLD", Not(Recent())),
    (b"RECENT", Recent()),
    (b"KEYWORD $Junk", HasFlag("$Junk")),
    (b"UNKEYWORD $Junk", Not(HasFlag("$Junk"))),
    (b"BCC x", Header("bcc", "x")),
    (b"CC x", Header("cc", "x")),
    (b'FROM "a b"', Header("from", "a b")),
    (b"SUBJECT {3+}\r\nx\r\n", Header("subject", "x\r\n")),
    (b"TO x", Header("to", "x")),
    (b'HEADER X-Spam ""', Header("x-spam", "")),
    (b"BODY x", BodyText("x")),
    (b'TEXT "Gr\xc3\xbc\xc3\x9fe"', Text("Grüße")),
    (b"BEFORE 1-Feb-1994", DateKey(DateField.INTERNAL, DateRelation.BEFORE, DAY)),
    (b'ON "01-feb-1994"', DateKey(DateField.INTERNAL, DateRelation.ON, DAY)),
    (b"SINCE 1-FEB-1994", DateKey(DateField.INTERNAL, DateRelation.SINCE, DAY)),
    (b"SENTBEFORE 1-Feb-1994", DateKey(DateField.SENT, DateRelation.BEFORE, DAY)),
    (b"SENTON 1-Feb-1994", DateKey(DateField.SENT, DateRelation.ON, DAY)),
    (b"SENTSINCE 1-Feb-1994", DateKey(DateField.SENT, DateRelation.SINCE, DAY)),
    (b"LARGER 9223372036854775807", Larger(9223372036854775807)),
    (b"SMALLER 0", Smaller(0)),
    (b"2:*", Sequence(TWO_ON)),
    (b"*", Sequence(SequenceSet(NumSet(), 4294967295))),
    (b"$", Sequence(SAVED_RESULT)),
    (b"UID 2:*", Uids(TWO_ON)),
    (b"UID $", Uids(SAVED_RESULT)),
    (b"MODSEQ 620162338", ModSeq(620162338)),
    (b'MODSEQ "/flags/\\\\draft" all 620162338', ModSeq(620162338)),
    (b"NOT SEEN", Not(SEEN)),
    (b"OR SEEN TO x", Or(SEEN, Header("to", "x"))),
    (b"OR NOT SEEN (TO x CC y)", Or(Not(SEEN), And((Header("to", "x"), Header("cc", "y"))))),
    (b"(((SEEN)))", SEEN),
    (b"SEEN 2:* NOT (DRAFT)", And((SEEN, Sequence(TWO_ON), Not(HasFlag("\\Draft"))))),
]


@pytest.mark.parametrize(("text", "key"), KEYS, ids=[text.decode() for text, _ in KEYS])
def test_key(text: bytes, key: SearchKey) -> None:
    assert command(b"SEARCH " + text) == Search(key=key)
    assert command(b"UID SEARCH " + text) == Search(key=key, uid=True)


@pytest.mark.parametrize(
    ("text", "returns"),
    [
        (b"RETURN ()", {SearchReturn.ALL}),
        (b"return (MIN max Count ALL)", {SearchReturn.MIN, SearchReturn.MAX, SearchReturn.COUNT, SearchReturn.ALL}),
        (b"RETURN (SAVE)", {SearchReturn.SAVE}),
    ],
)
def test_result_options(text: bytes, returns: set[SearchReturn]) -> None:
    assert command(b"SEARCH " + text + b" ALL") == Search(key=All(), returns=frozenset(returns))


@pytest.mark.parametrize("charset", [b"UTF-8", b"utf-8", b'"UTF-8"', b"us-ascii"])
def test_charset(charset: bytes) -> None:
    assert command(b"SEARCH CHARSET " + charset + b" TEXT {4}\r\n\xc3\xa4\xc3\xb6") == Search(key=Text("äö"))
    assert command(b"SEARCH RETURN (MIN) CHARSET " + charset + b" ALL") == Search(
        key=All(), returns=frozenset({SearchReturn.MIN})
    )


def test_unknown_charset() -> None:
    assert command(b"SEARCH CHARSET KOI8-R TEXT x") == Search(key=All(), bad_charset=True)
    assert command(b"SEARCH RETURN (SAVE) CHARSET KOI8-R TEXT {2+}\r\n\xff\xfe") == Search(
        key=All(), returns=frozenset({SearchReturn.SAVE}), bad_charset=True
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "search key"),
        (b"()", "search key"),
        (b"(SEEN", "expected )"),
        (b"SEEN)", "end of the command"),
        (b"FOO", "not known"),
        (b"NOT", "space"),
        (b"OR SEEN", "space"),
        (b"FROM", "space"),
        (b"HEADER X", "space"),
        (b"BEFORE 31-Feb-1994", "no such day"),
        (b"BEFORE 1-Foo-1994", "no such day"),
        (b"BEFORE 1994-02-01", "1-Feb-1994"),
        (b"LARGER -1", "number"),
        (b"LARGER 9223372036854775808", "from 0"),
        (b"KEYWORD \\Seen", "atom"),
        (b"UID", "space"),
        (b"0", "sequence set"),
        (b"MODSEQ \"/flags/x\" some 1", "priv"),
        (b'TEXT "\xff"', "UTF-8"),
        (b"RETURN (FOO) ALL", "MIN"),
        (b"RETURN MIN ALL", "expected ("),
        (b" ".join([b"SEEN"] * 2001), "at most 2000"),
    ],
)
def test_bad_search(text: bytes, words: str) -> None:
    (event,) = every_way(b"a SEARCH " + text + b"\r\n")
    assert isinstance(event, BadCommand), event
    assert words in event.text
