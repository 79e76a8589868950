"""wire/imap/parse/multisearch.py: ESEARCH (RFC 7377 §4)."""

from __future__ import annotations

import pytest

from mailserver.wire.imap.commands import MultiSearch, Search, SearchReturn, Source, SourceKind
from mailserver.wire.imap.events import BadCommand
from mailserver.wire.imap.responses import esearch
from mailserver.wire.imap.search_keys import All
from tests.helpers.wire_imap import command, every_way

ALL = Search(key=All(), returns=frozenset({SearchReturn.ALL}), uid=True)
SELECTED = Source(SourceKind.SELECTED)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"ESEARCH ALL", MultiSearch((SELECTED,), ALL)),
        (b"esearch in (personal) return () all", MultiSearch((Source(SourceKind.PERSONAL),), ALL)),
        (
            b'ESEARCH IN (mailboxes ("a b" INBOX) subtree c subtree-one (d)) ALL',
            MultiSearch(
                (
                    Source(SourceKind.MAILBOXES, ("a b", "INBOX")),
                    Source(SourceKind.SUBTREE, ("c",)),
                    Source(SourceKind.SUBTREE_ONE, ("d",)),
                ),
                ALL,
            ),
        ),
        (
            b"ESEARCH RETURN (SAVE COUNT) CHARSET KOI8-R x",
            MultiSearch(
                (SELECTED,),
                Search(
                    key=All(), returns=frozenset({SearchReturn.SAVE, SearchReturn.COUNT}), uid=True, bad_charset=True
                ),
            ),
        ),
    ],
)
def test_what_is_read(line: bytes, expected: object) -> None:
    assert command(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"ESEARCH",
        b"ESEARCH IN ALL",
        b"ESEARCH IN () ALL",
        b"ESEARCH IN (colour) ALL",
        b"ESEARCH IN (selected-delayed) ALL",
        b"ESEARCH IN (mailboxes) ALL",
        b"ESEARCH IN (mailboxes ()) ALL",
        b"ESEARCH IN (personal x) ALL",
        b"ESEARCH IN (personal (depth 1)) ALL",
        b"ESEARCH IN (personal) RETURN (SAVE) ALL",
        b"ESEARCH IN (personal) RETURN (UPDATE) ALL",
        b"ESEARCH IN (" + b" ".join([b"personal"] * 101) + b") ALL",
    ],
)
def test_what_is_refused(line: bytes) -> None:
    (event,) = every_way(b"a " + line + b"\r\n")
    assert isinstance(event, BadCommand)
    assert event.status == "BAD"


def test_the_answer_names_the_mailbox() -> None:
    about = ("Grü\r\n", 7)
    assert esearch(b"t", uid=True, mailbox_name=about, count=2).startswith(
        b'* ESEARCH (TAG "t" MAILBOX "Gr&APwADQAK-" UIDVALIDITY 7) UID COUNT 2'
    )
    assert "Grü".encode() in esearch(b"t", uid=True, mailbox_name=("Grü", 7), utf8=True, count=2)
