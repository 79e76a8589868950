"""wire/imap/parse/fetch.py: every item of RFC 9051 §6.4.5 and its extensions, and the name it has in the response."""

from __future__ import annotations

import pytest

from mailserver.model.numset import NumSet
from mailserver.wire.imap.commands import Fetch
from mailserver.wire.imap.events import BadCommand
from mailserver.wire.imap.fetch_items import (
    BinarySection,
    BinarySize,
    BodySection,
    FetchAttribute,
    FetchItem,
    SectionText,
)
from mailserver.wire.imap.sequence_set import SAVED_RESULT, SequenceSet
from tests.helpers.wire_imap import command, every_way

ONE = SequenceSet(NumSet(((1, 1),)))
FLAGS, DATE, SIZE = FetchAttribute.FLAGS, FetchAttribute.INTERNALDATE, FetchAttribute.RFC822_SIZE
FIELDS = SectionText.HEADER_FIELDS

ITEMS: list[tuple[bytes, tuple[FetchItem, ...]]] = [
    (b"FAST", (FLAGS, DATE, SIZE)),
    (b"all", (FLAGS, DATE, SIZE, FetchAttribute.ENVELOPE)),
    (b"FULL", (FLAGS, DATE, SIZE, FetchAttribute.ENVELOPE, FetchAttribute.BODY)),
    (b"(FLAGS UID flags)", (FLAGS, FetchAttribute.UID)),
    (b"BODYSTRUCTURE", (FetchAttribute.BODYSTRUCTURE,)),
    (b"BODY", (FetchAttribute.BODY,)),
    (b"MODSEQ", (FetchAttribute.MODSEQ,)),
    (b"RFC822", (BodySection(peek=False, name=b"RFC822"),)),
    (b"RFC822.HEADER", (BodySection(text=SectionText.HEADER, peek=True, name=b"RFC822.HEADER"),)),
    (b"RFC822.TEXT", (BodySection(text=SectionText.TEXT, peek=False, name=b"RFC822.TEXT"),)),
    (b"BODY[]", (BodySection(peek=False, name=b"BODY[]"),)),
    (b"body.peek[]<0.2048>", (BodySection(peek=True, partial=(0, 2048), name=b"BODY[]<0>"),)),
    (b"BODY[header]", (BodySection(text=SectionText.HEADER, peek=False, name=b"BODY[HEADER]"),)),
    (b"BODY[TEXT]<9.1>", (BodySection(text=SectionText.TEXT, peek=False, partial=(9, 1), name=b"BODY[TEXT]<9>"),)),
    (b"BODY[1]", (BodySection(part=(1,), peek=False, name=b"BODY[1]"),)),
    (b"BODY[4.2.HEADER]", (BodySection(part=(4, 2), text=SectionText.HEADER, peek=False, name=b"BODY[4.2.HEADER]"),)),
    (b"BODY[4.1.mime]", (BodySection(part=(4, 1), text=SectionText.MIME, peek=False, name=b"BODY[4.1.MIME]"),)),
    (
        b"BODY.PEEK[HEADER.FIELDS (DATE From)]",
        (
            BodySection(
                text=FIELDS, fields=("date", "from"), peek=True, name=b"BODY[HEADER.FIELDS (DATE From)]"
            ),
        ),
    ),
    (
        b'BODY[2.HEADER.FIELDS.NOT ("x-a" {3+}\r\nx-b)]<1.2>',
        (
            BodySection(
                part=(2,),
                text=SectionText.HEADER_FIELDS_NOT,
                fields=("x-a", "x-b"),
                peek=False,
                partial=(1, 2),
                name=b"BODY[2.HEADER.FIELDS.NOT (x-a x-b)]<1>",
            ),
        ),
    ),
    (b"BINARY[]", (BinarySection(peek=False, name=b"BINARY[]"),)),
    (b"BINARY.PEEK[1.2]<3.4>", (BinarySection(part=(1, 2), peek=True, partial=(3, 4), name=b"BINARY[1.2]<3>"),)),
    (b"BINARY.SIZE[2]", (BinarySize(part=(2,), name=b"BINARY.SIZE[2]"),)),
]


@pytest.mark.parametrize(("text", "items"), ITEMS, ids=[text.decode() for text, _ in ITEMS])
def test_items(text: bytes, items: tuple[FetchItem, ...]) -> None:
    assert command(b"FETCH 1 " + text) == Fetch(messages=ONE, items=items)
    # The second time comes from memory.
    assert command(b"FETCH 1 " + text) == Fetch(messages=ONE, items=items)


def test_uid_fetch_always_has_the_uid() -> None:
    assert command(b"UID FETCH 1 (FLAGS)") == Fetch(messages=ONE, items=(FetchAttribute.UID, FLAGS), uid=True)
    assert command(b"UID FETCH $ (FLAGS UID)") == Fetch(
        messages=SAVED_RESULT, items=(FLAGS, FetchAttribute.UID), uid=True
    )


def test_changedsince_asks_for_modseq() -> None:
    assert command(b"FETCH 1 (FLAGS) (CHANGEDSINCE 12345)") == Fetch(
        messages=ONE, items=(FLAGS, FetchAttribute.MODSEQ), changed_since=12345
    )
    fetched = command(b"UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 1 VANISHED)")
    assert isinstance(fetched, Fetch)
    assert fetched.vanished
    assert fetched.items == (FetchAttribute.UID, FLAGS, FetchAttribute.MODSEQ)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "FETCH item"),
        (b"()", "FETCH item"),
        (b"(FLAGS", "expected )"),
        (b"(FLAGS FAST)", "not known"),
        (b"FOO", "not known"),
        (b"ENVELOPE[]", "space"),
        (b"BODY.PEEK", "not known"),
        (b"BODY[", "section"),
        (b"BODY[MIME]", "MIME of a part"),
        (b"BODY[0]", "from 1"),
        (b"BODY[1.]", "section"),
        (b"BODY[1.FOO]", "section"),
        (b"BODY[HEADER.FIELDS]", "space"),
        (b"BODY[HEADER.FIELDS ()]", "atom"),
        (b'BODY[HEADER.FIELDS ("a:b")]', "colon"),
        (b'BODY[HEADER.FIELDS ("\xc3\xa4")]', "colon"),
        (b"BODY[]<0>", "expected ."),
        (b"BODY[]<0.0>", "from 1"),
        (b"BODY[]<-1.5>", "number"),
        (b"BINARY[HEADER]", "expected ]"),
        (b"BINARY[1.]", "expected ]"),
        (b"BINARY.SIZE[1]<0.1>", "space"),
        (b"FLAGS (FOO 1)", "CHANGEDSINCE"),
        (b"FLAGS (CHANGEDSINCE 1 VANISHED)", "UID FETCH only"),
        (b"(" + b" ".join(b"BODY[%d]" % n for n in range(1, 300)) + b")", "at most 250"),
    ],
)
def test_bad_items(text: bytes, words: str) -> None:
    (event,) = every_way(b"a FETCH 1 " + text + b"\r\n")
    assert isinstance(event, BadCommand), event
    assert words in event.text


def test_vanished_needs_changedsince() -> None:
    (event,) = every_way(b"a UID FETCH 1 FLAGS (VANISHED)\r\n")
    assert isinstance(event, BadCommand)
    assert "CHANGEDSINCE" in event.text
